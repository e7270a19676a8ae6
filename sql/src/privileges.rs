//! `has_table_privilege` and its kin. The only role is a superuser, which has every privilege there is: what remains is
//! to refuse names of things and privileges that there are not, and to answer NULL for a number of nothing.

use basalt_planner::TableKind;
use basalt_types::{Datum, Oid, Result, SqlError, SqlState};

use crate::{
    catalog::{CatalogView, POSTGRES_ROLE},
    catalog_functions::{resolve_relation, resolve_type, split_name, unquote},
};

/// What a function of the family asks about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Table,
    AnyColumn,
    Column,
    Sequence,
    Schema,
    Database,
    Function,
    Type,
    Tablespace,
    Language,
    ForeignDataWrapper,
    Server,
    Parameter,
    Role,
}

impl Target {
    fn of(function: &str) -> Option<Self> {
        Some(match function {
            "has_table_privilege" => Self::Table,
            "has_any_column_privilege" => Self::AnyColumn,
            "has_column_privilege" => Self::Column,
            "has_sequence_privilege" => Self::Sequence,
            "has_schema_privilege" => Self::Schema,
            "has_database_privilege" => Self::Database,
            "has_function_privilege" => Self::Function,
            "has_type_privilege" => Self::Type,
            "has_tablespace_privilege" => Self::Tablespace,
            "has_language_privilege" => Self::Language,
            "has_foreign_data_wrapper_privilege" => Self::ForeignDataWrapper,
            "has_server_privilege" => Self::Server,
            "has_parameter_privilege" => Self::Parameter,
            "pg_has_role" => Self::Role,
            _ => return None,
        })
    }

    const fn privileges(self) -> &'static [&'static str] {
        match self {
            Self::Table => &["select", "insert", "update", "delete", "truncate", "references", "trigger"],
            Self::AnyColumn | Self::Column => &["select", "insert", "update", "references"],
            Self::Sequence => &["usage", "select", "update"],
            Self::Schema => &["create", "usage"],
            Self::Database => &["create", "temporary", "temp", "connect"],
            Self::Function => &["execute"],
            Self::Tablespace => &["create"],
            Self::Type | Self::Language | Self::ForeignDataWrapper | Self::Server => &["usage"],
            Self::Parameter => &["set", "alter system"],
            Self::Role => &["usage", "member"],
        }
    }
}

/// Answers a function of the family by its `pg_proc` name; `None` for any other.
pub fn call(view: &CatalogView, name: &str, args: &[Datum]) -> Option<Result<Datum>> {
    let target = Target::of(name)?;
    Some(answer(view, target, args))
}

fn answer(view: &CatalogView, target: Target, args: &[Datum]) -> Result<Datum> {
    let own = if target == Target::Column { 3 } else { 2 };
    let mut rest = args;
    if args.len() > own {
        role(&args[0], target != Target::Role)?;
        rest = &args[1..];
    }
    let (Some((privilege, objects)), true) = (rest.split_last(), rest.len() == own) else {
        return Err(SqlError::internal("a privilege function with other arguments"));
    };
    let known = exists(view, target, objects)?;
    if let Datum::Text(privilege) = privilege {
        check(target, privilege)?;
    }
    Ok(if known { Datum::Bool(true) } else { Datum::Null })
}

fn role(role: &Datum, public: bool) -> Result<()> {
    match role {
        Datum::Text(name) if &**name == "postgres" || public && &**name == "public" => Ok(()),
        Datum::Text(name) => Err(missing("role", name)),
        _ => Ok(()),
    }
}

fn missing(kind: &str, name: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_OBJECT, format!("{kind} \"{name}\" does not exist"))
}

/// Whether there is an object of this number; one without a name is an error.
fn exists(view: &CatalogView, target: Target, objects: &[Datum]) -> Result<bool> {
    let object = &objects[0];
    let text = match object {
        Datum::Text(text) => Some(&**text),
        _ => None,
    };
    let id = match object {
        Datum::Oid(id) => *id,
        Datum::Int4(id) => Oid(id.cast_unsigned()),
        _ => Oid(0),
    };
    Ok(match (target, text) {
        (Target::Table | Target::AnyColumn | Target::Column | Target::Sequence, name) => {
            let id = match name {
                Some(name) => relation(view, name)?,
                None => id,
            };
            let table = view.table_by_id(id);
            let is_index = view.snapshot.index(id).is_some();
            if let (Target::Sequence, Some(table)) = (target, table)
                && !matches!(table.kind, TableKind::Sequence(_))
            {
                let message = format!("\"{}\" is not a sequence", table.name);
                return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
            }
            match (target, table) {
                (Target::Column, Some(table)) => match &objects[1] {
                    Datum::Text(column) => {
                        let found =
                            table.columns.iter().any(|known| !known.hidden && *known.name == **column);
                        if !found {
                            let message =
                                format!("column \"{column}\" of relation \"{}\" does not exist", table.name);
                            return Err(SqlError::new(SqlState::UNDEFINED_COLUMN, message));
                        }
                        true
                    }
                    Datum::Int2(number) => usize::try_from(*number)
                        .is_ok_and(|number| (1..=table.columns.len()).contains(&number)),
                    _ => true,
                },
                (_, table) => table.is_some() || is_index,
            }
        }
        (Target::Schema, Some(name)) => match view.schema(name) {
            Some(_) => true,
            None => return Err(no_schema(name)),
        },
        (Target::Schema, None) => view.schema_name(id).is_some(),
        (Target::Database, Some(name)) => match view.snapshot.database_named(name) {
            Some(_) => true,
            None => {
                let message = format!("database \"{name}\" does not exist");
                return Err(SqlError::new(SqlState::INVALID_CATALOG_NAME, message));
            }
        },
        (Target::Database, None) => view.snapshot.databases.contains_key(&id),
        (Target::Function, Some(signature)) => function(signature)?,
        (Target::Function, None) => basalt_functions::function_by_oid(id).is_some(),
        (Target::Type, Some(name)) => match resolve_type(name) {
            Some(_) => true,
            None => return Err(missing("type", name)),
        },
        (Target::Type, None) => basalt_types::sql_type::type_info(id).is_some(),
        (Target::Language, Some("internal" | "c" | "sql" | "plpgsql")) => true,
        (Target::Language, Some(name)) => return Err(missing("language", name)),
        (Target::Tablespace, Some("pg_default" | "pg_global")) => true,
        (Target::Tablespace, Some(name)) => return Err(missing("tablespace", name)),
        (Target::ForeignDataWrapper, Some(name)) => return Err(missing("foreign-data wrapper", name)),
        (Target::Server, Some(name)) => return Err(missing("server", name)),
        (Target::ForeignDataWrapper | Target::Server, None) => false,
        (Target::Role, Some(_)) => {
            role(object, false)?;
            true
        }
        (Target::Role, None) => id == POSTGRES_ROLE,
        (Target::Language | Target::Tablespace | Target::Parameter, _) => true,
    })
}

fn no_schema(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"))
}

fn relation(view: &CatalogView, name: &str) -> Result<Oid> {
    let parts = split_name(name);
    if parts.len() > 3 {
        return Err(SqlError::new(
            SqlState::SYNTAX_ERROR,
            format!("improper relation name (too many dotted names): {name}"),
        ));
    }
    if let [.., schema, _] = parts.as_slice()
        && view.schema(schema).is_none()
    {
        return Err(no_schema(schema));
    }
    resolve_relation(view, name)?.ok_or_else(|| {
        SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", parts.join(".")))
    })
}

/// Looks `name(type, …)` up.
fn function(signature: &str) -> Result<bool> {
    let invalid = |message: &str| SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message);
    let (name, types) = signature.split_once('(').ok_or_else(|| invalid("expected a left parenthesis"))?;
    let types = types.trim_end().strip_suffix(')').ok_or_else(|| invalid("expected a right parenthesis"))?;
    let mut wanted = Vec::new();
    for name in types.split(',').filter(|name| !name.trim().is_empty()) {
        wanted.push(resolve_type(name).ok_or_else(|| missing("type", name.trim()))?);
    }
    let name = unquote(name.trim());
    if basalt_functions::registry()
        .functions
        .iter()
        .any(|known| known.name == name && known.args[..] == wanted[..])
    {
        return Ok(true);
    }
    Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("function \"{signature}\" does not exist")))
}

/// A list of privileges, each perhaps WITH GRANT OPTION.
fn check(target: Target, list: &str) -> Result<()> {
    for item in list.split(',') {
        let word = item.trim().to_ascii_lowercase();
        let option = if target == Target::Role { " with admin option" } else { " with grant option" };
        let bare = word.strip_suffix(option).or_else(|| word.strip_suffix(" with grant option"));
        if !target.privileges().contains(&bare.unwrap_or(&word).trim_end()) {
            let message = format!("unrecognized privilege type: \"{}\"", item.trim());
            return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
    }
    Ok(())
}
