//! Translates PostgreSQL's advanced regular expressions to the syntax of the `regex` crate.
//!
//! Back references and look-around have no automaton and answer 0A000. Two rules differ in what a *match* is, not in
//! whether there is one: among alternatives the leftmost wins, not the longest, and greediness is decided by each
//! quantifier, not by the first one of the expression.

use basalt_types::{Result, SqlError, SqlState};

/// How an expression is read and applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub ignore_case: bool,
    /// `^` and `$` match at line ends, too.
    pub multi_line: bool,
    /// `.` and negated brackets do not match a line feed.
    pub newline_stops: bool,
    /// White space and comments are ignored.
    pub expanded: bool,
    /// The expression is a plain string.
    pub literal: bool,
    /// A basic or an extended expression, which are not translated.
    pub other_flavour: bool,
}

pub fn invalid(reason: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {reason}"))
}

impl Options {
    /// Applies one letter of the flags; `false` for a letter that is none of these.
    pub fn apply(&mut self, letter: char) -> Result<bool> {
        match letter {
            'i' => self.ignore_case = true,
            'c' => self.ignore_case = false,
            'n' | 'm' => (self.multi_line, self.newline_stops) = (true, true),
            'p' => (self.multi_line, self.newline_stops) = (false, true),
            's' => (self.multi_line, self.newline_stops) = (false, false),
            'w' => (self.multi_line, self.newline_stops) = (true, false),
            'x' => self.expanded = true,
            't' => self.expanded = false,
            'q' => self.literal = true,
            'b' | 'e' => self.other_flavour = true,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

struct Translator<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    out: String,
    options: Options,
    depth: usize,
}

/// Nesting of parentheses; the regex compiler recurses on it.
const DEPTH_MAX: usize = 100;
/// Largest count in a bound, as in PostgreSQL.
const BOUND_MAX: u32 = 255;

/// The translated expression and the options with those that the expression itself begins with.
pub fn translate(pattern: &str, mut options: Options) -> Result<(String, Options)> {
    if options.other_flavour {
        return Err(SqlError::not_supported("a regular expression that is not an advanced one"));
    }
    let mut body = pattern;
    if let Some(literal) = body.strip_prefix("***=") {
        options.literal = true;
        body = literal;
    } else if let Some(advanced) = body.strip_prefix("***:") {
        body = advanced;
    } else if body.starts_with("***") {
        return Err(invalid("invalid regexp (reg version 0.8)"));
    }
    if options.literal {
        return Ok((regex::escape(body), options));
    }
    if let Some(letters) = body.strip_prefix("(?")
        && letters.starts_with(|first: char| first.is_ascii_lowercase())
    {
        let end = letters.find(')').ok_or_else(|| invalid("invalid embedded option"))?;
        for letter in letters[..end].chars() {
            if !options.apply(letter)? {
                return Err(invalid("invalid embedded option"));
            }
        }
        body = &letters[end + 1..];
        if options.literal {
            return Ok((regex::escape(body), options));
        }
    }
    let mut translator = Translator { rest: body.chars().peekable(), out: String::new(), options, depth: 0 };
    translator.run()?;
    Ok((translator.out, options))
}

impl Translator<'_> {
    fn run(&mut self) -> Result<()> {
        // Whether a quantifier may follow.
        let mut has_atom = false;
        while let Some(character) = self.rest.next() {
            has_atom = match character {
                '\\' => self.escape()?,
                '[' => self.bracket()?,
                '(' => {
                    self.open()?;
                    false
                }
                ')' if self.depth > 0 => {
                    self.depth -= 1;
                    self.out.push(')');
                    true
                }
                ')' => return Err(invalid("parentheses () not balanced")),
                '|' => {
                    self.out.push('|');
                    false
                }
                '*' | '+' | '?' => self.quantifier(character, has_atom)?,
                '{' if self.rest.peek().is_some_and(char::is_ascii_digit) => self.bound(has_atom)?,
                '^' | '$' => {
                    self.out.push(character);
                    false
                }
                '.' => {
                    self.out.push('.');
                    true
                }
                '#' if self.options.expanded => {
                    while self.rest.next().is_some_and(|next| next != '\n') {}
                    has_atom
                }
                blank if self.options.expanded && blank.is_whitespace() => has_atom,
                other => {
                    self.literal(other);
                    true
                }
            };
        }
        if self.depth > 0 { Err(invalid("parentheses () not balanced")) } else { Ok(()) }
    }

    fn literal(&mut self, character: char) {
        self.out.push_str(&regex::escape(character.encode_utf8(&mut [0; 4])));
    }

    fn open(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(invalid("regular expression is too complex"));
        }
        self.out.push('(');
        if self.rest.peek() != Some(&'?') {
            return Ok(());
        }
        self.rest.next();
        match self.rest.next() {
            Some(':') => {
                self.out.push_str("?:");
                Ok(())
            }
            // A comment.
            Some('#') => {
                while self.rest.next().is_some_and(|next| next != ')') {}
                self.out.pop();
                self.depth -= 1;
                Ok(())
            }
            Some('=' | '!' | '<') => {
                Err(SqlError::not_supported("a look-around constraint in a regular expression"))
            }
            _ => Err(invalid("quantifier operand invalid")),
        }
    }

    fn quantifier(&mut self, character: char, has_atom: bool) -> Result<bool> {
        if !has_atom {
            return Err(invalid("quantifier operand invalid"));
        }
        self.out.push(character);
        self.lazy();
        Ok(false)
    }

    /// Takes the `?` that makes a quantifier not greedy.
    fn lazy(&mut self) {
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
    }

    fn number(&mut self) -> Result<Option<u32>> {
        let mut value = None;
        while let Some(digit) = self.rest.peek().and_then(|next| next.to_digit(10)) {
            self.rest.next();
            let sum = value.unwrap_or(0) * 10 + digit;
            if sum > BOUND_MAX {
                return Err(invalid("invalid repetition count(s)"));
            }
            value = Some(sum);
        }
        Ok(value)
    }

    fn bound(&mut self, has_atom: bool) -> Result<bool> {
        if !has_atom {
            return Err(invalid("quantifier operand invalid"));
        }
        let low = self.number()?.unwrap_or(0);
        self.out.push_str(&format!("{{{low}"));
        if self.rest.next_if_eq(&',').is_some() {
            self.out.push(',');
            if let Some(high) = self.number()? {
                if high < low {
                    return Err(invalid("invalid repetition count(s)"));
                }
                self.out.push_str(&high.to_string());
            }
        }
        if self.rest.next() != Some('}') {
            return Err(invalid("invalid repetition count(s)"));
        }
        self.out.push('}');
        self.lazy();
        Ok(false)
    }

    /// What follows a backslash; whether it is an atom.
    fn escape(&mut self) -> Result<bool> {
        let Some(letter) = self.rest.next() else { return Err(invalid("invalid escape \\ sequence")) };
        let constraint = match letter {
            'm' => "\\b{start}",
            'M' => "\\b{end}",
            'y' => "\\b",
            'Y' => "\\B",
            'A' => "\\A",
            'Z' => "\\z",
            _ => "",
        };
        if !constraint.is_empty() {
            self.out.push_str(constraint);
            return Ok(false);
        }
        let class = match letter {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            's' => "\\s",
            'S' => "\\S",
            'w' => "\\w",
            'W' => "\\W",
            _ => "",
        };
        if !class.is_empty() {
            self.out.push_str(class);
            return Ok(true);
        }
        if matches!(letter, '1'..='9') {
            return Err(SqlError::not_supported("a back reference in a regular expression"));
        }
        let character = self.character_escape(letter)?;
        self.literal(character);
        Ok(true)
    }

    fn hexadecimal(&mut self, digits: usize) -> Result<char> {
        let mut value = 0;
        for _ in 0..digits {
            let digit = self.rest.next().and_then(|next| next.to_digit(16));
            value = value << 4 | digit.ok_or_else(|| invalid("invalid escape \\ sequence"))?;
        }
        char::from_u32(value).ok_or_else(|| invalid("invalid escape \\ sequence"))
    }

    /// The character that an escape stands for.
    fn character_escape(&mut self, letter: char) -> Result<char> {
        Ok(match letter {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'B' => '\\',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '0' => '\0',
            'c' => match self.rest.next() {
                Some(control) => char::from(control as u8 & 0x1f),
                None => return Err(invalid("invalid escape \\ sequence")),
            },
            'u' => self.hexadecimal(4)?,
            'U' => self.hexadecimal(8)?,
            'x' => {
                let mut value = 0u32;
                while let Some(digit) = self.rest.peek().and_then(|next| next.to_digit(16)) {
                    self.rest.next();
                    value = value.saturating_mul(16).saturating_add(digit);
                }
                char::from_u32(value).ok_or_else(|| invalid("invalid escape \\ sequence"))?
            }
            letter if letter.is_ascii_alphanumeric() => return Err(invalid("invalid escape \\ sequence")),
            other => other,
        })
    }

    fn bracket(&mut self) -> Result<bool> {
        let unbalanced = || invalid("brackets [] not balanced");
        let rest: String = self.rest.clone().take(7).collect();
        for (constraint, meaning) in [("[:<:]]", "\\b{start}"), ("[:>:]]", "\\b{end}")] {
            if rest.starts_with(constraint) {
                self.rest.nth(constraint.len() - 1);
                self.out.push_str(meaning);
                return Ok(false);
            }
        }
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
            if self.options.newline_stops {
                self.out.push_str("\\n");
            }
        }
        let mut first = true;
        loop {
            let character = self.rest.next().ok_or_else(unbalanced)?;
            match character {
                ']' if !first => break,
                '[' if matches!(self.rest.peek(), Some(':' | '.' | '=')) => self.bracket_class()?,
                '\\' => self.bracket_escape()?,
                // A range sign between two ends, a plain character elsewhere.
                '-' if !first && self.rest.peek() != Some(&']') => {
                    self.out.push('-');
                }
                other => self.bracket_character(other),
            }
            first = false;
        }
        self.out.push(']');
        Ok(true)
    }

    fn bracket_character(&mut self, character: char) {
        if character.is_ascii_punctuation() {
            self.out.push('\\');
        }
        self.out.push(character);
    }

    /// `[:alpha:]`, `[.x.]` and `[=x=]` inside brackets, after their opening bracket.
    fn bracket_class(&mut self) -> Result<()> {
        let kind = self.rest.next().expect("the caller has peeked");
        let mut name = String::new();
        loop {
            let next = self.rest.next().ok_or_else(|| invalid("brackets [] not balanced"))?;
            if next == kind && self.rest.next_if_eq(&']').is_some() {
                break;
            }
            name.push(next);
        }
        if kind != ':' {
            let mut characters = name.chars();
            let (Some(character), None) = (characters.next(), characters.next()) else {
                return Err(invalid("invalid collating element"));
            };
            self.bracket_character(character);
            return Ok(());
        }
        let class = match name.as_str() {
            "alpha" => "\\p{Alphabetic}",
            "alnum" => "\\p{Alphabetic}0-9",
            "upper" => "\\p{Uppercase}",
            "lower" => "\\p{Lowercase}",
            "digit" => "0-9",
            "xdigit" => "0-9A-Fa-f",
            "space" => "\\s",
            "blank" => " \\t",
            "punct" => "[:punct:]",
            "cntrl" => "[:cntrl:]",
            "print" => "[:print:]",
            "graph" => "[:graph:]",
            "ascii" => "[:ascii:]",
            "word" => "\\w",
            _ => return Err(invalid("invalid character class")),
        };
        self.out.push_str(class);
        Ok(())
    }

    fn bracket_escape(&mut self) -> Result<()> {
        let Some(letter) = self.rest.next() else { return Err(invalid("invalid escape \\ sequence")) };
        let class = match letter {
            'd' => "0-9",
            's' => "\\s",
            'w' => "\\w",
            'D' | 'S' | 'W' => return Err(invalid("invalid escape \\ sequence")),
            _ => "",
        };
        if class.is_empty() {
            let character = self.character_escape(letter)?;
            self.bracket_character(character);
        } else {
            self.out.push_str(class);
        }
        Ok(())
    }
}
