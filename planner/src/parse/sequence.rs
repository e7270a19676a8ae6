//! CREATE SEQUENCE and ALTER SEQUENCE, whose options PostgreSQL takes in any order.

use basalt_types::Result;
use sqlparser::tokenizer::Token;

use super::utility::{Tokens, Utility};

/// Options as written; `None` where nothing was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SequenceOptions {
    /// The name of an integer type.
    pub data_type: Option<String>,
    pub increment: Option<i64>,
    /// `Some(None)` for NO MINVALUE.
    pub min: Option<Option<i64>>,
    pub max: Option<Option<i64>>,
    pub start: Option<i64>,
    /// `Some(None)` for RESTART without a value.
    pub restart: Option<Option<i64>>,
    pub cache: Option<i64>,
    pub cycle: Option<bool>,
    /// The parts of `[schema.]table.column`; `Some(None)` for NONE.
    pub owned_by: Option<Option<Vec<String>>>,
}

impl Tokens<'_> {
    /// After CREATE [TEMP] SEQUENCE.
    pub(super) fn create_sequence(&mut self, temporary: bool) -> Result<Utility> {
        let if_not_exists = self.accept("if");
        if if_not_exists {
            self.expect("not")?;
            self.expect("exists")?;
        }
        let name = self.table()?;
        let options = self.sequence_options()?;
        Ok(Utility::CreateSequence { name, temporary, if_not_exists, options })
    }

    /// After ALTER SEQUENCE; `None` for the forms that it shares with other relations.
    pub(super) fn alter_sequence(&mut self) -> Result<Option<Utility>> {
        let if_exists = self.accept("if");
        if if_exists {
            self.expect("exists")?;
        }
        let name = self.table()?;
        if ["rename", "owner", "set"].iter().any(|word| self.is(word)) {
            return Ok(None);
        }
        let options = self.sequence_options()?;
        if options == SequenceOptions::default() {
            return Err(self.error());
        }
        Ok(Some(Utility::AlterSequence { name, if_exists, options }))
    }

    fn sequence_options(&mut self) -> Result<SequenceOptions> {
        let mut options = SequenceOptions::default();
        while self.peek().is_some() {
            if self.accept("as") {
                options.data_type = Some(self.name()?);
            } else if self.accept("increment") {
                self.accept("by");
                options.increment = Some(self.integer()?);
            } else if self.accept("minvalue") {
                options.min = Some(Some(self.integer()?));
            } else if self.accept("maxvalue") {
                options.max = Some(Some(self.integer()?));
            } else if self.accept("start") {
                self.accept("with");
                options.start = Some(self.integer()?);
            } else if self.accept("restart") {
                let with = self.accept("with");
                let value = if with || self.is_integer() { Some(self.integer()?) } else { None };
                options.restart = Some(value);
            } else if self.accept("cache") {
                options.cache = Some(self.integer()?);
            } else if self.accept("cycle") {
                options.cycle = Some(true);
            } else if self.accept("no") {
                if self.accept("minvalue") {
                    options.min = Some(None);
                } else if self.accept("maxvalue") {
                    options.max = Some(None);
                } else {
                    self.expect("cycle")?;
                    options.cycle = Some(false);
                }
            } else if self.accept("owned") {
                self.expect("by")?;
                options.owned_by = Some(if self.accept("none") { None } else { Some(self.dotted_name()?) });
            } else {
                return Err(self.error());
            }
        }
        Ok(options)
    }

    fn dotted_name(&mut self) -> Result<Vec<String>> {
        let mut parts = vec![self.name()?];
        while self.accept_token(&Token::Period) {
            parts.push(self.name()?);
        }
        Ok(parts)
    }

    fn is_integer(&self) -> bool {
        matches!(self.peek(), Some(Token::Number(..) | Token::Minus | Token::Plus))
    }

    fn integer(&mut self) -> Result<i64> {
        let negative = self.accept_token(&Token::Minus);
        if !negative {
            self.accept_token(&Token::Plus);
        }
        let Some(Token::Number(digits, _)) = self.peek() else { return Err(self.error()) };
        let text = if negative { format!("-{digits}") } else { digits.clone() };
        let number = text.parse().map_err(|_| self.error())?;
        self.advance();
        Ok(number)
    }
}
