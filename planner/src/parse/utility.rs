//! Statements parsed here because `sqlparser` lacks them or reads them in another product's way.

use basalt_types::Result;
use sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan},
};

use super::{ParsedStatement, Source, parse_one, sequence::SequenceOptions, syntax_error};
use crate::catalog::QualifiedName;

#[derive(Clone, Debug)]
pub enum Utility {
    /// `SHOW name`; the parts of `SHOW TRANSACTION ISOLATION LEVEL` and `SHOW TIME ZONE` are already translated.
    Show {
        name: String,
    },
    /// `SET [SESSION|LOCAL] name {=|TO} value, …`; no values for DEFAULT. `SET TIME ZONE x` too.
    Set {
        local: bool,
        name: String,
        values: Vec<String>,
    },
    /// `RESET name` or `RESET ALL` (`None`).
    Reset {
        name: Option<String>,
    },
    /// `VACUUM` and `ANALYZE`; no tables means all.
    Vacuum {
        vacuum: bool,
        analyze: bool,
        tables: Vec<QualifiedName>,
    },
    Checkpoint,
    /// `ALTER NODE 3 DECOMMISSION`: an operator's word on a node of the cluster.
    AlterNode {
        node: u64,
        change: NodeChange,
    },
    /// `CANCEL JOB 16400`.
    CancelJob {
        job: u64,
    },
    /// `LOCK TABLE a, b IN … MODE [NOWAIT]`.
    Lock {
        tables: Vec<QualifiedName>,
        mode: String,
        nowait: bool,
    },
    /// `DECLARE name [BINARY] [[NO] SCROLL] CURSOR [WITH HOLD] FOR query`.
    Declare {
        name: String,
        binary: bool,
        /// `None` leaves it to the plan.
        scroll: Option<bool>,
        hold: bool,
        query: Box<ParsedStatement>,
    },
    /// `FETCH` or `MOVE`.
    Fetch {
        cursor: String,
        count: FetchCount,
        is_move: bool,
    },
    /// `CLOSE name` or `CLOSE ALL` (`None`).
    Close {
        name: Option<String>,
    },
    /// `SET CONSTRAINTS {ALL | name, …} {DEFERRED | IMMEDIATE}`; no names mean all.
    SetConstraints {
        names: Vec<String>,
        deferred: bool,
    },
    /// `REINDEX` and `CLUSTER` do nothing here.
    Reindex,
    CreateSequence {
        name: QualifiedName,
        temporary: bool,
        if_not_exists: bool,
        options: SequenceOptions,
    },
    AlterSequence {
        name: QualifiedName,
        if_exists: bool,
        options: SequenceOptions,
    },
    /// `REFRESH MATERIALIZED VIEW name [WITH [NO] DATA]`.
    Refresh {
        name: QualifiedName,
        with_data: bool,
    },
    /// `ALTER kind name RENAME TO x` and its kin, for every kind of relation.
    AlterRelation {
        kind: RelationKind,
        name: QualifiedName,
        if_exists: bool,
        change: RelationChange,
    },
}

/// The kind of relation that ALTER names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    Table,
    View,
    MaterializedView,
    Sequence,
    Index,
}

/// A change that any relation may undergo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelationChange {
    RenameTo(String),
    SetSchema(String),
    OwnerTo,
}

/// What becomes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// Its replicas move to other nodes, for good.
    Decommission,
    /// It takes part again.
    Recommission,
    /// It has given up everything and is no part of the cluster any more, for ever.
    Remove,
    /// It gives up its leases, and takes no new ones.
    Drain,
    Undrain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchCount {
    /// So many forwards; backwards when negative, the current row again when zero.
    Rows(i64),
    All,
    BackwardAll,
    /// The row of this number; counted from the end when negative.
    Absolute(i64),
    Relative(i64),
}

pub(super) struct Tokens<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
    source: &'a Source,
}

pub(super) fn parse(tokens: &[TokenWithSpan], source: &Source) -> Result<Option<Utility>> {
    let mut stream = Tokens { tokens, at: 1, source };
    let first = match &tokens[0].token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_lowercase(),
        _ => return Ok(None),
    };
    let utility = match first.as_str() {
        "show" => stream.show()?,
        "set" => match stream.set()? {
            Some(utility) => utility,
            None => return Ok(None),
        },
        "reset" => stream.reset()?,
        "vacuum" | "analyze" | "analyse" => stream.vacuum(first == "vacuum")?,
        "checkpoint" => Utility::Checkpoint,
        "lock" => stream.lock()?,
        "declare" => return stream.declare().map(Some),
        "fetch" | "move" => stream.fetch(first == "move")?,
        "close" => {
            if stream.accept("all") {
                Utility::Close { name: None }
            } else {
                Utility::Close { name: Some(stream.name()?) }
            }
        }
        "create" => {
            let temporary = stream.accept("temp") || stream.accept("temporary");
            if !stream.accept("sequence") {
                return Ok(None);
            }
            stream.create_sequence(temporary)?
        }
        "alter" if stream.accept("node") => stream.alter_node()?,
        "alter" => match stream.alter()? {
            Some(utility) => utility,
            None => return Ok(None),
        },
        "refresh" => stream.refresh()?,
        "cancel" if stream.accept("job") => Utility::CancelJob { job: stream.id()? },
        "reindex" | "cluster" => {
            stream.at = tokens.len();
            Utility::Reindex
        }
        _ => return Ok(None),
    };
    stream.end()?;
    Ok(Some(utility))
}

impl Tokens<'_> {
    /// The number of a node or job.
    fn id(&mut self) -> Result<u64> {
        let id = match self.peek() {
            Some(Token::Number(digits, false)) => digits.parse().map_err(|_| self.error())?,
            _ => return Err(self.error()),
        };
        self.advance();
        Ok(id)
    }

    fn alter_node(&mut self) -> Result<Utility> {
        let node = self.id()?;
        let words = [
            ("decommission", NodeChange::Decommission),
            ("recommission", NodeChange::Recommission),
            ("remove", NodeChange::Remove),
            ("drain", NodeChange::Drain),
            ("undrain", NodeChange::Undrain),
        ];
        let change = words.into_iter().find(|(word, _)| self.is(word)).ok_or_else(|| self.error())?.1;
        self.advance();
        Ok(Utility::AlterNode { node, change })
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|token| &token.token)
    }

    pub(super) fn error(&self) -> basalt_types::SqlError {
        match self.tokens.get(self.at) {
            Some(token) => syntax_error::near(token, self.source),
            None => syntax_error::at_end(self.source),
        }
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    fn end(&self) -> Result<()> {
        if self.at >= self.tokens.len() { Ok(()) } else { Err(self.error()) }
    }

    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    pub(super) fn accept(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn accept_token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, word: &str) -> Result<()> {
        if self.accept(word) { Ok(()) } else { Err(self.error()) }
    }

    pub(super) fn name(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let name =
                    if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() };
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.error()),
        }
    }

    /// A parameter's name, which may have a dot.
    fn parameter(&mut self) -> Result<String> {
        let mut name = self.name()?;
        while self.accept_token(&Token::Period) {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(name)
    }

    pub(super) fn table(&mut self) -> Result<QualifiedName> {
        let mut parts = vec![self.name()?];
        while self.accept_token(&Token::Period) {
            parts.push(self.name()?);
        }
        let name = parts.pop().expect("at least one was read");
        let schema = parts.pop();
        Ok(QualifiedName { database: parts.pop(), schema, name })
    }

    fn tables(&mut self) -> Result<Vec<QualifiedName>> {
        let mut tables = Vec::new();
        loop {
            self.accept("only");
            tables.push(self.table()?);
            self.accept_token(&Token::Mul);
            self.skip_parenthesised();
            if !self.accept_token(&Token::Comma) {
                return Ok(tables);
            }
        }
    }

    fn skip_parenthesised(&mut self) {
        if !self.accept_token(&Token::LParen) {
            return;
        }
        let mut depth = 1;
        while depth > 0 && self.at < self.tokens.len() {
            match self.peek() {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// ALTER of a relation where the grammar lacks the form.
    fn alter(&mut self) -> Result<Option<Utility>> {
        let kind = if self.accept("table") {
            RelationKind::Table
        } else if self.accept("view") {
            RelationKind::View
        } else if self.accept("materialized") {
            self.expect("view")?;
            RelationKind::MaterializedView
        } else if self.accept("sequence") {
            let start = self.at;
            if let Some(utility) = self.alter_sequence()? {
                return Ok(Some(utility));
            }
            self.at = start;
            RelationKind::Sequence
        } else if self.accept("index") {
            RelationKind::Index
        } else {
            return Ok(None);
        };
        let if_exists = self.accept("if");
        if if_exists {
            self.expect("exists")?;
        }
        self.accept("only");
        let name = self.table()?;
        let change = if self.accept("rename") {
            if !self.accept("to") {
                return Ok(None);
            }
            RelationChange::RenameTo(self.name()?)
        } else if self.accept("set") {
            if !self.accept("schema") {
                return Ok(None);
            }
            RelationChange::SetSchema(self.name()?)
        } else if self.accept("owner") {
            self.expect("to")?;
            self.name()?;
            RelationChange::OwnerTo
        } else {
            return Ok(None);
        };
        Ok((self.at == self.tokens.len()).then_some(Utility::AlterRelation { kind, name, if_exists, change }))
    }

    fn refresh(&mut self) -> Result<Utility> {
        self.expect("materialized")?;
        self.expect("view")?;
        self.accept("concurrently");
        let name = self.table()?;
        let mut with_data = true;
        if self.accept("with") {
            with_data = !self.accept("no");
            self.expect("data")?;
        }
        Ok(Utility::Refresh { name, with_data })
    }

    fn show(&mut self) -> Result<Utility> {
        let name = if self.accept("transaction") {
            self.expect("isolation")?;
            self.expect("level")?;
            "transaction_isolation".to_owned()
        } else if self.accept("session") {
            self.expect("authorization")?;
            "session_authorization".to_owned()
        } else if self.accept("time") {
            self.expect("zone")?;
            "timezone".to_owned()
        } else {
            self.parameter()?
        };
        Ok(Utility::Show { name })
    }

    /// `None` for the forms that `sqlparser` reads well (SET TRANSACTION, SET ROLE, …).
    fn set(&mut self) -> Result<Option<Utility>> {
        let local = self.accept("local");
        if !local {
            self.accept("session");
        }
        if !local && self.accept("constraints") {
            return self.set_constraints().map(Some);
        }
        if ["transaction", "characteristics", "role", "authorization"].iter().any(|word| self.is(word)) {
            return Ok(None);
        }
        let name = if self.accept("time") {
            self.expect("zone")?;
            "timezone".to_owned()
        } else if self.accept("names") {
            "client_encoding".to_owned()
        } else {
            let name = self.parameter()?;
            if !self.accept_token(&Token::Eq) {
                self.expect("to")?;
            }
            name
        };
        let mut values = Vec::new();
        if !self.accept("default") {
            loop {
                values.push(self.value()?);
                if !self.accept_token(&Token::Comma) {
                    break;
                }
            }
        } else if name == "timezone" {
            self.accept("local");
        }
        Ok(Some(Utility::Set { local, name, values }))
    }

    fn set_constraints(&mut self) -> Result<Utility> {
        let mut names = Vec::new();
        if !self.accept("all") {
            loop {
                names.push(self.table()?.name);
                if !self.accept_token(&Token::Comma) {
                    break;
                }
            }
        }
        let deferred = self.accept("deferred");
        if !deferred {
            self.expect("immediate")?;
        }
        Ok(Utility::SetConstraints { names, deferred })
    }

    fn value(&mut self) -> Result<String> {
        let negative = self.accept_token(&Token::Minus);
        if !negative {
            self.accept_token(&Token::Plus);
        }
        if self.accept("interval") {
            return self.value();
        }
        let value = match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text.clone(),
            Some(Token::Number(number, _)) if negative => format!("-{number}"),
            Some(Token::Number(number, _)) => number.clone(),
            Some(Token::Word(word)) if word.quote_style.is_some() => word.value.clone(),
            Some(Token::Word(word)) => word.value.to_lowercase(),
            _ => return Err(self.error()),
        };
        self.at += 1;
        Ok(value)
    }

    fn reset(&mut self) -> Result<Utility> {
        if self.accept("all") {
            return Ok(Utility::Reset { name: None });
        }
        let name = if self.accept("time") {
            self.expect("zone")?;
            "timezone".to_owned()
        } else if self.accept("session") {
            self.expect("authorization")?;
            "session_authorization".to_owned()
        } else {
            self.parameter()?
        };
        Ok(Utility::Reset { name: Some(name) })
    }

    fn vacuum(&mut self, vacuum: bool) -> Result<Utility> {
        let mut analyze = !vacuum;
        if self.peek() == Some(&Token::LParen) {
            let from = self.at;
            self.skip_parenthesised();
            analyze |= self.tokens[from..self.at]
                .iter()
                .any(|token| matches!(&token.token, Token::Word(word) if word.keyword == Keyword::ANALYZE));
        }
        loop {
            if self.accept("analyze") || self.accept("analyse") {
                analyze = true;
            } else if !(self.accept("full") || self.accept("freeze") || self.accept("verbose")) {
                break;
            }
        }
        let tables = if self.at < self.tokens.len() { self.tables()? } else { Vec::new() };
        Ok(Utility::Vacuum { vacuum, analyze, tables })
    }

    fn lock(&mut self) -> Result<Utility> {
        self.accept("table");
        let tables = self.tables()?;
        let mut mode = Vec::new();
        if self.accept("in") {
            while !self.accept("mode") {
                mode.push(self.name()?);
            }
        }
        let mode = if mode.is_empty() { "access exclusive".to_owned() } else { mode.join(" ") };
        let nowait = self.accept("nowait");
        Ok(Utility::Lock { tables, mode, nowait })
    }

    fn declare(&mut self) -> Result<Utility> {
        let name = self.name()?;
        let (mut binary, mut scroll, mut hold) = (false, None, false);
        while !self.accept("cursor") {
            if self.accept("binary") {
                binary = true;
            } else if self.accept("no") {
                self.expect("scroll")?;
                scroll = Some(false);
            } else if self.accept("scroll") {
                scroll = Some(true);
            } else if !(self.accept("insensitive") || self.accept("asensitive")) {
                return Err(self.error());
            }
        }
        if self.accept("with") {
            self.expect("hold")?;
            hold = true;
        } else if self.accept("without") {
            self.expect("hold")?;
        }
        self.expect("for")?;
        if self.at >= self.tokens.len() {
            return Err(self.error());
        }
        let query = Box::new(parse_one(&self.tokens[self.at..], self.source)?);
        Ok(Utility::Declare { name, binary, scroll, hold, query })
    }

    fn fetch(&mut self, is_move: bool) -> Result<Utility> {
        let mut count = FetchCount::Rows(1);
        if self.accept("next") {
        } else if self.accept("forward") {
            count = self.count()?.unwrap_or(FetchCount::Rows(1));
        } else if self.accept("backward") {
            count = match self.count()?.unwrap_or(FetchCount::Rows(1)) {
                FetchCount::Rows(rows) => FetchCount::Rows(-rows),
                _ => FetchCount::BackwardAll,
            };
        } else if self.accept("prior") {
            count = FetchCount::Rows(-1);
        } else if self.accept("first") {
            count = FetchCount::Absolute(1);
        } else if self.accept("last") {
            count = FetchCount::Absolute(-1);
        } else if self.accept("absolute") {
            count = FetchCount::Absolute(self.rows()?);
        } else if self.accept("relative") {
            count = FetchCount::Relative(self.rows()?);
        } else if let Some(found) = self.count()? {
            count = found;
        }
        if !self.accept("from") {
            self.accept("in");
        }
        Ok(Utility::Fetch { cursor: self.name()?, count, is_move })
    }

    fn rows(&mut self) -> Result<i64> {
        match self.count()? {
            Some(FetchCount::Rows(rows)) => Ok(rows),
            _ => Err(self.error()),
        }
    }

    fn count(&mut self) -> Result<Option<FetchCount>> {
        if self.accept("all") {
            return Ok(Some(FetchCount::All));
        }
        let negative = self.peek() == Some(&Token::Minus);
        self.at += usize::from(negative);
        match self.peek() {
            Some(Token::Number(number, _)) => {
                let count: i64 = number.parse().map_err(|_| self.error())?;
                self.at += 1;
                Ok(Some(FetchCount::Rows(if negative { -count } else { count })))
            }
            _ if negative => Err(self.error()),
            _ => Ok(None),
        }
    }
}
