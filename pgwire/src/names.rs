//! The bounded tables of a session's named statements and portals.

use std::collections::HashMap;

use basalt_types::{Result, SqlError, SqlState};

/// What a [`NameTable`] holds; decides limits and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    Statement,
    Portal,
}

impl NameKind {
    fn unknown(self, name: &str) -> SqlError {
        match self {
            Self::Statement if name.is_empty() => SqlError::new(
                SqlState::INVALID_SQL_STATEMENT_NAME,
                "unnamed prepared statement does not exist",
            ),
            Self::Statement => SqlError::new(
                SqlState::INVALID_SQL_STATEMENT_NAME,
                format!("prepared statement \"{name}\" does not exist"),
            ),
            Self::Portal => {
                SqlError::new(SqlState::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
            }
        }
    }

    fn duplicate(self, name: &str) -> SqlError {
        match self {
            Self::Statement => SqlError::new(
                SqlState::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ),
            Self::Portal => {
                SqlError::new(SqlState::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists"))
            }
        }
    }

    fn too_many(self, limit: usize) -> SqlError {
        let what = match self {
            Self::Statement => "prepared statements",
            Self::Portal => "portals",
        };
        SqlError::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, format!("too many {what}"))
            .with_detail(format!("A session can hold {limit} {what}."))
    }
}

/// Named things of one kind, with the unnamed one in a slot of its own: binding it costs no hashing.
#[derive(Debug)]
pub struct NameTable<T> {
    kind: NameKind,
    limit: usize,
    unnamed: Option<T>,
    named: HashMap<Box<str>, T>,
}

impl<T> NameTable<T> {
    /// Of at most `limit` named entries; see [`crate::Limits`] for the usual figures.
    pub fn new(kind: NameKind, limit: usize) -> Self {
        Self { kind, limit, unnamed: None, named: HashMap::new() }
    }

    /// Fails when a non-empty `name` is taken (`42P05`, `42P03`) or the table is full (`53400`),
    /// so that work on a value that could not be kept is not begun.
    pub fn check_free(&self, name: &str) -> Result<()> {
        if name.is_empty() {
            Ok(())
        } else if self.named.contains_key(name) {
            Err(self.kind.duplicate(name))
        } else if self.named.len() >= self.limit {
            Err(self.kind.too_many(self.limit))
        } else {
            Ok(())
        }
    }

    /// Adds an entry under the rules of [`Self::check_free`]; the unnamed one is replaced.
    pub fn insert(&mut self, name: &str, value: T) -> Result<()> {
        self.check_free(name)?;
        if name.is_empty() {
            self.unnamed = Some(value);
        } else {
            self.named.insert(name.into(), value);
        }
        Ok(())
    }

    pub fn find(&self, name: &str) -> Option<&T> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) }
    }

    /// Fails for an unknown name: `26000`, `34000`.
    pub fn get(&self, name: &str) -> Result<&T> {
        self.find(name).ok_or_else(|| self.kind.unknown(name))
    }

    /// As [`Self::get`].
    pub fn get_mut(&mut self, name: &str) -> Result<&mut T> {
        let kind = self.kind;
        let found = if name.is_empty() { self.unnamed.as_mut() } else { self.named.get_mut(name) };
        found.ok_or_else(|| kind.unknown(name))
    }

    pub fn remove(&mut self, name: &str) -> Option<T> {
        if name.is_empty() { self.unnamed.take() } else { self.named.remove(name) }
    }

    /// Removes everything, the unnamed one too.
    pub fn clear(&mut self) {
        self.unnamed = None;
        self.named.clear();
        self.named.shrink_to_fit();
    }

    /// Keeps what `keep` says, the unnamed one under the empty name.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut T) -> bool) {
        if self.unnamed.as_mut().is_some_and(|value| !keep("", value)) {
            self.unnamed = None;
        }
        self.named.retain(|name, value| keep(name, value));
    }

    /// Named entries only.
    pub fn len(&self) -> usize {
        self.named.len()
    }

    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.named.iter().map(|(name, value)| (&**name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_postgresql_rules() {
        let mut table = NameTable::new(NameKind::Statement, 2);
        table.insert("", 0).unwrap();
        table.insert("", 1).unwrap();
        assert_eq!(*table.get("").unwrap(), 1);
        table.insert("a", 2).unwrap();
        assert_eq!(table.insert("a", 3).unwrap_err().sqlstate(), SqlState::DUPLICATE_PREPARED_STATEMENT);
        table.insert("b", 4).unwrap();
        assert_eq!(table.insert("c", 5).unwrap_err().sqlstate(), SqlState::CONFIGURATION_LIMIT_EXCEEDED);
        table.insert("", 6).unwrap();
        assert_eq!(table.remove("a"), Some(2));
        assert_eq!(table.get("a").unwrap_err().sqlstate(), SqlState::INVALID_SQL_STATEMENT_NAME);
        table.retain(|_, value| *value == 4);
        assert_eq!((table.len(), table.find("")), (1, None));

        let portals: NameTable<()> = NameTable::new(NameKind::Portal, 1);
        assert_eq!(portals.get("p").unwrap_err().message(), "portal \"p\" does not exist");
    }
}
