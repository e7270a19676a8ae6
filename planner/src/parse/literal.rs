//! String constants as PostgreSQL reads them: one that goes on in the next line, `E'…'` with bytes, `U&'…'`.
//!
//! The tokenizer answers with what a constant means, or not at all. Where it gives up on an escape string, the string
//! is read here and the tokenizer goes on behind it. Everything else is put together from tokens and the blanks
//! between them.

use std::collections::BTreeSet;

use basalt_types::{Result, SqlError, SqlState};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, TokenizerError, Whitespace};

use super::{Source, dialect, syntax_error};

/// Tokens without blanks and comments.
pub(super) fn tokenize(sql: &str, source: &Source) -> Result<Vec<TokenWithSpan>> {
    let tokens = read(sql, source)?;
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // Where the strings and names in Unicode notation are.
    let mut marked = BTreeSet::new();
    // Whether only blanks with a line end stand behind the last token.
    let mut new_line = false;
    let mut adjacent = false;
    for token in tokens {
        if let Token::Whitespace(blank) = &token.token {
            match blank {
                Whitespace::Newline | Whitespace::SingleLineComment { .. } => new_line = true,
                Whitespace::Space | Whitespace::Tab => {}
                // Nothing continues behind such a comment.
                Whitespace::MultiLineComment(_) => {
                    new_line = false;
                    adjacent = false;
                    joined.push(token);
                    continue;
                }
            }
            adjacent = false;
            continue;
        }
        if let Token::CustomBinaryOperator(name) = &token.token
            && let Some(parts) = operator_parts(name, &token)
        {
            joined.extend(parts);
            (new_line, adjacent) = (false, true);
            continue;
        }
        let (was_new_line, was_adjacent) = (new_line, adjacent);
        check_number(joined.last().filter(|_| was_adjacent), &token, source)?;
        (new_line, adjacent) = (false, true);
        if was_new_line && continues(&mut joined, &token, source)? {
            continue;
        }
        if was_adjacent && unicode_prefix(&joined, &token) {
            let start = joined[joined.len() - 2].span.start;
            joined.truncate(joined.len() - 2);
            marked.insert(start);
            joined.push(TokenWithSpan { token: token.token, span: Span::new(start, token.span.end) });
            continue;
        }
        joined.push(token);
    }
    joined.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    if marked.is_empty() { Ok(joined) } else { unicode(joined, &marked, source) }
}

/// No sign belongs to an operator of arithmetic and comparison characters: `->-` is `->` and a minus.
fn operator_parts(name: &str, token: &TokenWithSpan) -> Option<Vec<TokenWithSpan>> {
    let kept = name.trim_end_matches(['+', '-']);
    if kept.len() == name.len()
        || kept.is_empty()
        || name.contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?'])
    {
        return None;
    }
    let mut at = token.span.start;
    let mut parts = Vec::new();
    let mut push = |token: Token, length: usize| {
        let end = Location::new(at.line, at.column + length as u64);
        parts.push(TokenWithSpan { token, span: Span::new(at, end) });
        at = end;
    };
    let mut tokens = Tokenizer::new(&dialect::Postgres, kept).tokenize().ok()?.into_iter();
    push(tokens.next()?, kept.len());
    for sign in name[kept.len()..].chars() {
        push(if sign == '+' { Token::Plus } else { Token::Minus }, 1);
    }
    Some(parts)
}

/// Refuses a word right behind a number.
fn check_number(before: Option<&TokenWithSpan>, token: &TokenWithSpan, source: &Source) -> Result<()> {
    let span = match (before, &token.token) {
        (Some(number), Token::Word(word))
            if word.quote_style.is_none() && matches!(number.token, Token::Number(..)) =>
        {
            Span::new(number.span.start, token.span.end)
        }
        (_, Token::HexStringLiteral(_)) if source.span(token.span).starts_with('0') => token.span,
        _ => return Ok(()),
    };
    let message = format!("trailing junk after numeric literal at or near \"{}\"", source.span(span));
    Err(placed(SqlState::SYNTAX_ERROR, message, span.start, source))
}

/// Appends a string to the string before it.
fn continues(joined: &mut [TokenWithSpan], token: &TokenWithSpan, source: &Source) -> Result<bool> {
    let (Some(before), Token::SingleQuotedString(text)) = (joined.last_mut(), &token.token) else {
        return Ok(false);
    };
    match &mut before.token {
        Token::SingleQuotedString(first)
        | Token::NationalStringLiteral(first)
        | Token::HexStringLiteral(first)
        | Token::SingleQuotedByteStringLiteral(first) => first.push_str(text),
        Token::EscapedStringLiteral(first) => {
            let (more, _) = escapes(source.span(token.span), token.span.start, source)?;
            first.push_str(&more);
        }
        _ => return Ok(false),
    }
    before.span.end = token.span.end;
    Ok(true)
}

/// Whether `U` and `&` stand right before a string or a quoted name.
fn unicode_prefix(joined: &[TokenWithSpan], token: &TokenWithSpan) -> bool {
    let quoted = match &token.token {
        Token::SingleQuotedString(_) => true,
        Token::Word(word) => word.quote_style.is_some(),
        _ => false,
    };
    let [.., letter, ampersand] = joined else { return false };
    quoted
        && ampersand.token == Token::Ampersand
        && ampersand.span.end == token.span.start
        && letter.span.end == ampersand.span.start
        && matches!(&letter.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("u"))
}

/// Replaces what `U&'…' [UESCAPE 'x']` and `U&"…"` write by what they mean.
fn unicode(
    tokens: Vec<TokenWithSpan>,
    marked: &BTreeSet<Location>,
    source: &Source,
) -> Result<Vec<TokenWithSpan>> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(mut token) = rest.next() {
        if !marked.contains(&token.span.start) {
            out.push(token);
            continue;
        }
        let mut escape = '\\';
        let uescape = rest.next_if(|next| matches!(&next.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("uescape")));
        if uescape.is_some() {
            let text = rest.next();
            let one = text.as_ref().and_then(|text| match &text.token {
                Token::SingleQuotedString(text) => text.chars().next().filter(|_| text.chars().count() == 1),
                _ => None,
            });
            escape = match (one, text) {
                (Some(one), _) if !one.is_ascii_hexdigit() && !"+'\" \t\n\r".contains(one) => one,
                (_, Some(text)) => {
                    let message =
                        format!("invalid Unicode escape character at or near \"{}\"", source.span(text.span));
                    return Err(placed(SqlState::SYNTAX_ERROR, message, text.span.start, source));
                }
                (_, None) => return Err(syntax_error::at_end(source)),
            };
        }
        match &mut token.token {
            Token::SingleQuotedString(text) => {
                *text = unicode_escapes(text, escape, token.span.start, source)?;
            }
            Token::Word(word) => {
                let name = unicode_escapes(&word.value, escape, token.span.start, source)?;
                token.token = Token::make_word(&name, Some('"'));
            }
            _ => {}
        }
        out.push(token);
    }
    Ok(out)
}

fn unicode_escapes(text: &str, escape: char, start: Location, source: &Source) -> Result<String> {
    let mut out = Bytes::new(start, source);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char != escape {
            out.char(char)?;
        } else if chars.next_if_eq(&escape).is_some() {
            out.char(escape)?;
        } else {
            let length = if chars.next_if_eq(&'+').is_some() { 6 } else { 4 };
            let code = hex(&mut chars, length).ok_or_else(|| {
                placed(SqlState::SYNTAX_ERROR, "invalid Unicode escape", start, source)
                    .with_hint("Unicode escapes must be \\XXXX or \\+XXXXXX.")
            })?;
            out.code(code)?;
        }
    }
    out.finish()
}

/// All tokens, blanks included.
fn read(sql: &str, source: &Source) -> Result<Vec<TokenWithSpan>> {
    let mut tokens = Vec::new();
    let (mut rest, mut origin) = (sql, Location::new(1, 1));
    loop {
        let mut part = Vec::new();
        let result = Tokenizer::new(&dialect::Postgres, rest).tokenize_with_location_into_buf(&mut part);
        tokens.extend(part.into_iter().map(|token| TokenWithSpan {
            token: token.token,
            span: Span::new(moved(token.span.start, origin), moved(token.span.end, origin)),
        }));
        let Err(error) = result else { return Ok(tokens) };
        let start = moved(error.location, origin);
        let text = source.from(start);
        let is_escape_string = error.message.contains("encoded string literal")
            && text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("e'"));
        if !is_escape_string {
            let error = TokenizerError { message: error.message, location: start };
            return Err(syntax_error::unreadable(&error, source));
        }
        let (value, length) = escapes(text, start, source)?;
        let end = text[..length].chars().fold(start, |at, char| match char {
            '\n' => Location::new(at.line + 1, 1),
            _ => Location::new(at.line, at.column + 1),
        });
        tokens.push(TokenWithSpan { token: Token::EscapedStringLiteral(value), span: Span::new(start, end) });
        (rest, origin) = (&text[length..], end);
    }
}

/// A location in a part of the text that begins at `origin`.
const fn moved(location: Location, origin: Location) -> Location {
    if location.line == 1 {
        Location { line: origin.line, column: origin.column + location.column - 1 }
    } else {
        Location { line: origin.line + location.line - 1, column: location.column }
    }
}

/// Reads an escape string from its opening quote (or the letter before it): its value and how long it is.
fn escapes(text: &str, start: Location, source: &Source) -> Result<(String, usize)> {
    let mut out = Bytes::new(start, source);
    let open = text.find('\'').unwrap_or(0) + 1;
    let mut chars = text[open..].char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        let escaped = match char {
            '\'' if chars.next_if(|(_, next)| *next == '\'').is_some() => {
                out.char('\'')?;
                continue;
            }
            '\'' => return Ok((out.finish()?, open + at + 1)),
            '\\' => chars.next().map(|(_, char)| char),
            _ => {
                out.char(char)?;
                continue;
            }
        };
        let Some(escaped) = escaped else { break };
        let digits = |chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>, radix, most| {
            let mut value = None;
            for _ in 0..most {
                let Some((_, digit)) = chars.next_if(|(_, char)| char.is_digit(radix)) else { break };
                value = Some(value.unwrap_or(0) * radix + digit.to_digit(radix).unwrap_or(0));
            }
            value
        };
        match escaped {
            'b' => out.char('\u{8}')?,
            'f' => out.char('\u{c}')?,
            'n' => out.char('\n')?,
            'r' => out.char('\r')?,
            't' => out.char('\t')?,
            'v' => out.char('\u{b}')?,
            '0'..='7' => {
                let first = escaped.to_digit(8).unwrap_or(0);
                let mut value = first;
                for _ in 0..2 {
                    let Some((_, digit)) = chars.next_if(|(_, char)| char.is_digit(8)) else { break };
                    value = value * 8 + digit.to_digit(8).unwrap_or(0);
                }
                out.byte(value)?;
            }
            'x' => match digits(&mut chars, 16, 2) {
                Some(value) => out.byte(value)?,
                None => out.char('x')?,
            },
            'u' | 'U' => {
                let length = if escaped == 'u' { 4 } else { 8 };
                let mut only = chars.clone().map(|(_, char)| char).peekable();
                let code = hex(&mut only, length).ok_or_else(|| {
                    placed(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid Unicode escape", start, source)
                        .with_hint("Unicode escapes must be \\uXXXX or \\UXXXXXXXX.")
                })?;
                for _ in 0..length {
                    chars.next();
                }
                out.code(code)?;
            }
            other => out.char(other)?,
        }
    }
    let message = format!("unterminated quoted string at or near \"{text}\"");
    Err(placed(SqlState::SYNTAX_ERROR, message, start, source))
}

/// Exactly so many hexadecimal digits.
fn hex(chars: &mut std::iter::Peekable<impl Iterator<Item = char>>, length: usize) -> Option<u32> {
    let mut value = 0u32;
    for _ in 0..length {
        value = value.checked_mul(16)? + chars.next()?.to_digit(16)?;
    }
    Some(value)
}

fn placed(state: SqlState, message: impl Into<String>, location: Location, source: &Source) -> SqlError {
    let error = SqlError::new(state, message);
    match source.position(location) {
        Some(position) => error.at(position),
        None => error,
    }
}

/// The bytes of a string under construction, and the first half of a surrogate pair that waits for the second.
struct Bytes<'a> {
    bytes: Vec<u8>,
    high: Option<u32>,
    start: Location,
    source: &'a Source,
}

impl<'a> Bytes<'a> {
    const fn new(start: Location, source: &'a Source) -> Self {
        Self { bytes: Vec::new(), high: None, start, source }
    }

    fn unpaired(&self) -> SqlError {
        placed(SqlState::SYNTAX_ERROR, "invalid Unicode surrogate pair", self.start, self.source)
    }

    fn char(&mut self, char: char) -> Result<()> {
        if self.high.is_some() {
            return Err(self.unpaired());
        }
        self.bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// A byte of an octal or hexadecimal escape; what exceeds eight bits is lost.
    fn byte(&mut self, value: u32) -> Result<()> {
        if self.high.is_some() {
            return Err(self.unpaired());
        }
        self.bytes.push((value & 0xff) as u8);
        Ok(())
    }

    fn code(&mut self, code: u32) -> Result<()> {
        let code = match (self.high.take(), code) {
            (None, 0xd800..=0xdbff) => {
                self.high = Some(code);
                return Ok(());
            }
            (Some(high), 0xdc00..=0xdfff) => 0x1_0000 + ((high - 0xd800) << 10) + (code - 0xdc00),
            (Some(_), _) | (None, 0xdc00..=0xdfff) => return Err(self.unpaired()),
            (None, code) => code,
        };
        match char::from_u32(code).filter(|char| *char != '\0') {
            Some(char) => self.char(char),
            None => {
                Err(placed(SqlState::SYNTAX_ERROR, "invalid Unicode escape value", self.start, self.source))
            }
        }
    }

    fn finish(self) -> Result<String> {
        if self.high.is_some() {
            return Err(self.unpaired());
        }
        let invalid = |bytes: &[u8]| {
            let list: Vec<String> = bytes.iter().map(|byte| format!("0x{byte:02x}")).collect();
            SqlError::new(
                SqlState::CHARACTER_NOT_IN_REPERTOIRE,
                format!("invalid byte sequence for encoding \"UTF8\": {}", list.join(" ")),
            )
        };
        if self.bytes.contains(&0) {
            return Err(invalid(&[0]));
        }
        String::from_utf8(self.bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            // As many as the first byte announces.
            let length = match bytes[at] {
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf7 => 4,
                _ => 1,
            };
            invalid(&bytes[at..bytes.len().min(at + length)])
        })
    }
}
