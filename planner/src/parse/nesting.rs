//! A bound on how deep a statement can nest, checked on tokens before anything recurses over it.
//!
//! The grammar's own limit covers parentheses and prefixes, but a chain such as `1+1+1+…` makes a tree as deep as it is
//! long without recursion, and dropping or binding that tree would exhaust the stack.

use basalt_types::{Result, SqlError, SqlState};
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Bound of the depth of any syntax tree, in nodes.
const DEPTH_LIMIT: usize = 2_000;

/// The depth so far of one parenthesis level.
#[derive(Clone, Copy, Default)]
struct Level {
    current: usize,
    deepest: usize,
}

impl Level {
    fn deepest(self) -> usize {
        self.current.max(self.deepest)
    }
}

pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut levels = vec![Level::default()];
    let mut outer = 0;
    for token in tokens {
        let level = levels.last_mut().expect("the outermost level is never popped");
        match &token.token {
            Token::LParen | Token::LBracket => {
                level.current += 1;
                outer += level.current;
                levels.push(Level::default());
            }
            Token::RParen | Token::RBracket => {
                if levels.len() > 1 {
                    let inner = levels.pop().expect("there are two").deepest();
                    let level = levels.last_mut().expect("one is left");
                    outer -= level.current;
                    level.current = level.current.max(inner + 1);
                }
            }
            Token::Comma => *level = Level { current: 0, deepest: level.deepest() },
            Token::Word(word) if word.keyword == sqlparser::keywords::Keyword::NoKeyword => {}
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::Period => {}
            _ => level.current += 1,
        }
        let depth = outer + levels.last().map_or(0, |level| level.deepest());
        if depth > DEPTH_LIMIT || levels.len() > super::RECURSION_LIMIT {
            return Err(too_deep());
        }
    }
    Ok(())
}

/// PostgreSQL's error for a statement that would exhaust the stack.
pub(crate) fn too_deep() -> SqlError {
    SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
        .with_hint("Write the statement with less nesting.")
}
