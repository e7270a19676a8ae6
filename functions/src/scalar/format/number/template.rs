//! Templates of numbers.

use basalt_types::{Result, SqlError, SqlState};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// `9` or `0`.
    Digit {
        zero: bool,
    },
    Point,
    Comma,
    Group,
    Currency,
    Roman {
        lower: bool,
    },
    Ordinal {
        lower: bool,
    },
    Minus,
    Plus,
    Either,
    /// Written by no place of its own: FM, S, PR, V, B and the like.
    Mark,
    Literal(char),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnchoredSign {
    Before,
    After,
}

#[derive(Clone, Debug, Default)]
pub struct Template {
    pub items: Vec<Item>,
    /// Digits before and after the point, and after `V`.
    pub whole: usize,
    pub decimals: usize,
    pub shifted: usize,
    pub fill_mode: bool,
    pub point: bool,
    pub zero: bool,
    /// From 1; 0 without a `0` before the point.
    pub zero_start: usize,
    pub zero_end: usize,
    pub blank: bool,
    pub anchored: Option<AnchoredSign>,
    /// Digits before an anchored sign.
    pub digits_before_sign: usize,
    pub minus: bool,
    pub plus: bool,
    pub brackets: bool,
    pub roman: bool,
    pub multiplied: bool,
    pub scientific: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Word {
    Comma,
    Point,
    Zero,
    Nine,
    Blank,
    LocalePoint,
    Scientific,
    FillMode,
    Group,
    Currency,
    Minus,
    Plus,
    Brackets,
    Roman(bool),
    Either,
    Sign,
    Ordinal(bool),
    Multiplied,
    Ignored,
}

/// Longer words before their prefixes; each is written in capitals or in small letters throughout.
const WORDS: [(&str, Word); 21] = [
    (",", Word::Comma),
    (".", Word::Point),
    ("0", Word::Zero),
    ("9", Word::Nine),
    ("B", Word::Blank),
    ("C", Word::Ignored),
    ("D", Word::LocalePoint),
    ("EEEE", Word::Scientific),
    ("FM", Word::FillMode),
    ("G", Word::Group),
    ("L", Word::Currency),
    ("MI", Word::Minus),
    ("PL", Word::Plus),
    ("PR", Word::Brackets),
    ("RN", Word::Roman(false)),
    ("SG", Word::Either),
    ("SP", Word::Ignored),
    ("S", Word::Sign),
    ("TH", Word::Ordinal(false)),
    ("V", Word::Multiplied),
    ("\u{0}", Word::Ignored),
];

fn word_at(rest: &str) -> Option<(Word, usize)> {
    WORDS.iter().find_map(|(name, word)| {
        if rest.starts_with(name) {
            return Some((*word, name.len()));
        }
        let lower = rest.get(..name.len())? == name.to_ascii_lowercase();
        let word = match word {
            Word::Roman(_) => Word::Roman(true),
            Word::Ordinal(_) => Word::Ordinal(true),
            other => *other,
        };
        lower.then_some((word, name.len()))
    })
}

fn syntax(message: &str) -> SqlError {
    SqlError::new(SqlState::SYNTAX_ERROR, message)
}

impl Template {
    pub fn parse(text: &str) -> Result<Self> {
        let mut template = Self::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some((word, length)) = word_at(rest) {
                template.add(word)?;
                rest = &rest[length..];
            } else if first == '"' {
                rest = template.quoted(&rest[1..]);
            } else {
                if first == '\\' && rest[1..].starts_with('"') {
                    rest = &rest[1..];
                }
                let literal = rest.chars().next().unwrap_or(first);
                template.items.push(Item::Literal(literal));
                rest = &rest[literal.len_utf8()..];
            }
        }
        Ok(template)
    }

    /// Takes characters up to a closing quote; returns what follows it.
    fn quoted<'a>(&mut self, body: &'a str) -> &'a str {
        let mut characters = body.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => return &body[at + 1..],
                '\\' => self.items.extend(characters.next().map(|(_, next)| Item::Literal(next))),
                other => self.items.push(Item::Literal(other)),
            }
        }
        ""
    }

    fn add(&mut self, word: Word) -> Result<()> {
        if self.scientific && word != Word::Scientific {
            return Err(syntax("\"EEEE\" must be the last pattern used"));
        }
        let with_sign = |name: &str| syntax(&format!("cannot use \"S\" and \"{name}\" together"));
        let item = match word {
            Word::Nine => {
                if self.brackets {
                    return Err(syntax("\"9\" must be ahead of \"PR\""));
                }
                if self.multiplied {
                    self.shifted += 1;
                } else if self.point {
                    self.decimals += 1;
                } else {
                    self.whole += 1;
                }
                Item::Digit { zero: false }
            }
            Word::Zero => {
                if self.brackets {
                    return Err(syntax("\"0\" must be ahead of \"PR\""));
                }
                if !self.zero && !self.point {
                    self.zero = true;
                    self.zero_start = self.whole + 1;
                }
                if self.point {
                    self.decimals += 1;
                } else {
                    self.whole += 1;
                }
                self.zero_end = self.whole + self.decimals;
                Item::Digit { zero: true }
            }
            Word::Blank => {
                self.blank |= self.whole == 0 && self.decimals == 0 && !self.zero;
                Item::Mark
            }
            Word::Point | Word::LocalePoint => {
                if self.point {
                    return Err(syntax("multiple decimal points"));
                }
                if self.multiplied {
                    return Err(syntax("cannot use \"V\" and decimal point together"));
                }
                self.point = true;
                Item::Point
            }
            Word::FillMode => {
                self.fill_mode = true;
                Item::Mark
            }
            Word::Sign => {
                self.anchor_sign()?;
                Item::Mark
            }
            Word::Minus if self.anchored.is_some() => return Err(with_sign("MI")),
            Word::Plus if self.anchored.is_some() => return Err(with_sign("PL")),
            Word::Either if self.anchored.is_some() => return Err(with_sign("SG")),
            Word::Minus => {
                self.minus = true;
                Item::Minus
            }
            Word::Plus => {
                self.plus = true;
                Item::Plus
            }
            Word::Either => {
                (self.minus, self.plus) = (true, true);
                Item::Either
            }
            Word::Brackets => {
                if self.anchored.is_some() || self.plus || self.minus {
                    return Err(syntax("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"));
                }
                self.brackets = true;
                Item::Mark
            }
            Word::Roman(lower) => {
                self.roman = true;
                Item::Roman { lower }
            }
            Word::Multiplied => {
                if self.point {
                    return Err(syntax("cannot use \"V\" and decimal point together"));
                }
                self.multiplied = true;
                Item::Mark
            }
            Word::Scientific => {
                self.make_scientific()?;
                Item::Mark
            }
            Word::Comma => Item::Comma,
            Word::Group => Item::Group,
            Word::Currency => Item::Currency,
            Word::Ordinal(lower) => Item::Ordinal { lower },
            Word::Ignored => Item::Mark,
        };
        self.items.push(item);
        Ok(())
    }

    fn anchor_sign(&mut self) -> Result<()> {
        if self.anchored.is_some() {
            return Err(syntax("cannot use \"S\" twice"));
        }
        if self.plus || self.minus || self.brackets {
            return Err(syntax("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
        }
        if self.point {
            self.anchored = Some(AnchoredSign::After);
        } else {
            self.anchored = Some(AnchoredSign::Before);
            self.digits_before_sign = self.whole;
        }
        Ok(())
    }

    fn make_scientific(&mut self) -> Result<()> {
        if self.scientific {
            return Err(syntax("cannot use \"EEEE\" twice"));
        }
        let others = [
            self.blank,
            self.fill_mode,
            self.anchored.is_some(),
            self.brackets,
            self.minus,
            self.plus,
            self.roman,
            self.multiplied,
        ];
        if others.contains(&true) {
            return Err(syntax("\"EEEE\" is incompatible with other formats").with_detail(
                "\"EEEE\" may only be used together with digit and decimal point patterns.".to_owned(),
            ));
        }
        self.scientific = true;
        Ok(())
    }
}
