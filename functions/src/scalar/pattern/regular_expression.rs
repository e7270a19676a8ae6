//! Compiled regular expressions, kept for the next row.

use std::cell::RefCell;
use std::rc::Rc;

use basalt_types::{Result, SqlError, SqlState};
use regex::{Regex, RegexBuilder};

use crate::EvalContext;
use crate::scalar::pattern::translate::{Options, invalid, translate};

/// Memory of one compiled expression.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Expressions kept per thread.
const CACHE_ENTRIES_MAX: usize = 32;

type Key = (Box<str>, Options);

thread_local! {
    /// Most recently used first. Compiling costs far more than matching, and a query's pattern is the same in each row.
    static CACHE: RefCell<Vec<(Key, Rc<Regex>)>> = const { RefCell::new(Vec::new()) };
}

/// The compiled form of a pattern.
pub fn compiled(pattern: &str, options: Options) -> Result<Rc<Regex>> {
    let cached = CACHE.with_borrow_mut(|cache| {
        let index = cache.iter().position(|((text, own), _)| **text == *pattern && *own == options)?;
        cache[..=index].rotate_right(1);
        Some(cache[0].1.clone())
    });
    if let Some(regex) = cached {
        return Ok(regex);
    }
    let regex = Rc::new(compile(pattern, options)?);
    CACHE.with_borrow_mut(|cache| {
        cache.truncate(CACHE_ENTRIES_MAX - 1);
        cache.insert(0, ((pattern.into(), options), regex.clone()));
    });
    Ok(regex)
}

fn compile(pattern: &str, options: Options) -> Result<Regex> {
    let (translated, options) = translate(pattern, options)?;
    RegexBuilder::new(&translated)
        .case_insensitive(options.ignore_case)
        .multi_line(options.multi_line)
        .dot_matches_new_line(!options.newline_stops)
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => invalid("regular expression is too complex"),
            // The first lines draw the expression; the last one says what is wrong.
            other => {
                invalid(other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: "))
            }
        })
}

/// The letters of a flags argument.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags {
    pub options: Options,
    pub global: bool,
}

pub fn flags(text: &str) -> Result<Flags> {
    let mut flags = Flags::default();
    for letter in text.chars() {
        if letter == 'g' {
            flags.global = true;
        } else if !flags.options.apply(letter)? {
            return Err(SqlError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid regular expression option: \"{letter}\""),
            ));
        }
    }
    Ok(flags)
}

/// Byte ranges of a match and of its groups.
pub type Groups = Vec<Option<(usize, usize)>>;

/// The first match at or after a byte offset.
pub fn find_at(regex: &Regex, text: &str, start: usize) -> Option<Groups> {
    let captures = regex.captures_at(text, start)?;
    Some(captures.iter().map(|group| group.map(|group| (group.start(), group.end()))).collect())
}

/// Every match, as PostgreSQL goes on after one: at its end, or one character further when it is empty. An error when
/// the statement should stop.
pub fn find_all<'a>(
    context: &'a EvalContext,
    regex: &'a Regex,
    text: &'a str,
    from: usize,
) -> impl Iterator<Item = Result<Groups>> + 'a {
    let mut start = Some(from);
    let mut found = 0;
    std::iter::from_fn(move || {
        let groups = find_at(regex, text, start?)?;
        let (begin, end) = groups[0].expect("the whole match always takes part");
        start = if begin == end {
            text[end..].chars().next().map(|skipped| end + skipped.len_utf8())
        } else {
            Some(end)
        };
        found += 1;
        Some(context.check_at(found).map(|()| groups))
    })
}
