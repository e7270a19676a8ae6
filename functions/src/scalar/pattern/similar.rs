//! `SIMILAR TO` and SQL's regular expression substring: rewritten to an anchored advanced regular expression.

use basalt_types::{Result, SqlError, SqlState};

use crate::builder::{Builder, scalars};

pub fn register(builder: &mut Builder) {
    scalars!(builder, {
        "similar_to_escape(text)" => |pattern: &str| similar(pattern, Some('\\'), false),
        "similar_to_escape(text,text)" => |pattern: &str, escape: &str| similar(pattern, escape_character(escape)?, false),
        "similar_escape" => |pattern: Option<&str>, escape: Option<&str>| {
            let Some(pattern) = pattern else { return Ok(None) };
            let escape = escape.map_or(Ok(Some('\\')), escape_character)?;
            similar(pattern, escape, false).map(Some)
        },
    });
}

pub fn escape_character(escape: &str) -> Result<Option<char>> {
    let mut characters = escape.chars();
    match (characters.next(), characters.next()) {
        (first, None) => Ok(first),
        _ => Err(SqlError::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
            .with_hint("Escape string must be empty or one character.")),
    }
}

/// `%` and `_` as in LIKE; `| * + ? {m,n} ( ) [ ]` as in regular expressions. Two escape-double-quotes split the
/// pattern of `substring` in three, of which the middle is captured; `lazy` makes the first part take as little as it can.
pub fn similar(pattern: &str, escape: Option<char>, lazy: bool) -> Result<String> {
    let mut result = String::from("^(?:");
    let mut in_brackets = false;
    let mut escaped = false;
    let mut quotes = 0;
    for character in pattern.chars() {
        if escaped {
            escaped = false;
            if character == '"' && !in_brackets {
                quotes += 1;
                match quotes {
                    // The outer parts take as little and as much as they must.
                    1 => result.push_str("){1,1}?("),
                    2 => result.push_str("){1,1}(?:"),
                    _ => {
                        return Err(SqlError::new(
                            SqlState::INVALID_ESCAPE_SEQUENCE,
                            "SQL regular expression may not contain more than two escape-double-quote separators",
                        ));
                    }
                }
            } else {
                // A letter may become an advanced escape: `\d`.
                result.push('\\');
                result.push(character);
            }
        } else if Some(character) == escape {
            escaped = true;
        } else if in_brackets {
            if character == '\\' {
                result.push('\\');
            }
            result.push(character);
            in_brackets = character != ']';
        } else {
            match character {
                '[' => {
                    result.push('[');
                    in_brackets = true;
                }
                '%' => result.push_str(if lazy && quotes == 0 { ".*?" } else { ".*" }),
                '_' => result.push('.'),
                '(' => result.push_str("(?:"),
                '\\' | '.' | '^' | '$' => {
                    result.push('\\');
                    result.push(character);
                }
                other => result.push(other),
            }
        }
    }
    result.push_str(")$");
    Ok(result)
}
