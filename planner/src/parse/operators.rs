//! How tightly operators bind.
//!
//! The grammar climbs precedences: an operand ends before the first operator that binds no tighter than the one it
//! belongs to. PostgreSQL's answers follow when three things hold: every operator has PostgreSQL's level, all those
//! without a level of their own sharing one; a prefix operator reads its operand at its own level, which is far above
//! `^` for a sign and the common one for all others; and what does not associate refuses a second operator of its
//! level behind its right operand.

use sqlparser::{
    ast::{BinaryOperator, Expr, UnaryOperator},
    dialect::Precedence,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::Token,
};

/// Operators without a level of their own.
pub(super) const OTHER: u8 = 70;
/// LIKE, IN, BETWEEN and SIMILAR.
const MATCHING: u8 = 60;
/// `<`, `=` and their kin.
const COMPARISON: u8 = 50;
const IS: u8 = 40;
/// Between AT TIME ZONE and COLLATE below, and subscripts and casts above.
const SIGN: u8 = 125;
/// The lower bound of BETWEEN holds comparisons, too: only AND ends it.
const LOWER_BOUND: u8 = 35;

pub(super) const fn level(precedence: &Precedence) -> u8 {
    match precedence {
        Precedence::Period => 200,
        Precedence::DoubleColon => 140,
        Precedence::AtTz => 110,
        Precedence::Caret => 100,
        Precedence::MulDivModOp => 90,
        Precedence::PlusMinus => 80,
        Precedence::Xor
        | Precedence::Ampersand
        | Precedence::Pipe
        | Precedence::Colon
        | Precedence::PgOther => OTHER,
        Precedence::Between | Precedence::Like => MATCHING,
        Precedence::Eq => COMPARISON,
        Precedence::Is => IS,
        Precedence::UnaryNot => 30,
        Precedence::And => 20,
        Precedence::Or => 10,
    }
}

/// The level of the next token as an operator after an operand, where it is not what the grammar would say.
pub(super) fn next_level(parser: &Parser<'_>) -> Option<u8> {
    let token = &parser.peek_token_ref().token;
    if let Token::Word(word) = token {
        if word.quote_style.is_some() {
            return Some(0);
        }
        return match word.keyword {
            Keyword::OPERATOR if parser.peek_nth_token_ref(1).token == Token::LParen => Some(OTHER),
            // Operators of other products are names here.
            Keyword::OPERATOR
            | Keyword::XOR
            | Keyword::DIV
            | Keyword::REGEXP
            | Keyword::RLIKE
            | Keyword::MATCH
            | Keyword::MEMBER => Some(0),
            Keyword::NOT => {
                let next = match &parser.peek_nth_token_ref(1).token {
                    Token::Word(next) if next.quote_style.is_none() => next.keyword,
                    _ => Keyword::NoKeyword,
                };
                Some(match next {
                    Keyword::IN | Keyword::BETWEEN | Keyword::LIKE | Keyword::ILIKE | Keyword::SIMILAR => {
                        MATCHING
                    }
                    _ => 0,
                })
            }
            _ if is_isnull(token) => Some(IS),
            _ => None,
        };
    }
    if comparison(token).is_some() {
        return Some(COMPARISON);
    }
    match token {
        Token::Tilde
        | Token::TildeAsterisk
        | Token::ExclamationMarkTilde
        | Token::ExclamationMarkTildeAsterisk
        | Token::DoubleTilde
        | Token::DoubleTildeAsterisk
        | Token::ExclamationMarkDoubleTilde
        | Token::ExclamationMarkDoubleTildeAsterisk
        | Token::Spaceship
        | Token::DoubleEq
        | Token::ExclamationMark
        | Token::DoubleExclamationMark
        | Token::PGSquareRoot
        | Token::PGCubeRoot
        | Token::Pipe
        | Token::Ampersand => Some(OTHER),
        Token::Assignment => Some(0),
        _ => None,
    }
}

fn comparison(token: &Token) -> Option<BinaryOperator> {
    Some(match token {
        Token::Eq => BinaryOperator::Eq,
        Token::Neq => BinaryOperator::NotEq,
        Token::Lt => BinaryOperator::Lt,
        Token::LtEq => BinaryOperator::LtEq,
        Token::Gt => BinaryOperator::Gt,
        Token::GtEq => BinaryOperator::GtEq,
        _ => return None,
    })
}

fn is_isnull(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("isnull"))
}

/// A prefix operator and its operand.
pub(super) fn prefix(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let word = match &parser.peek_token_ref().token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    };
    match word {
        // Tried again as a name, the grammar would blame what follows.
        Keyword::NOT => {
            parser.advance_token();
            return Some(parser.parse_not());
        }
        Keyword::CASE => {
            parser.advance_token();
            return Some(parser.parse_case_expr());
        }
        Keyword::AND | Keyword::OR => {
            return Some(parser.expected_ref("an operand", parser.peek_token_ref()));
        }
        _ => {}
    }
    let (op, level) = match parser.peek_token_ref().token {
        Token::Minus => (UnaryOperator::Minus, SIGN),
        Token::Plus => (UnaryOperator::Plus, SIGN),
        Token::Tilde => (UnaryOperator::BitwiseNot, OTHER),
        Token::AtSign => (UnaryOperator::PGAbs, OTHER),
        Token::PGSquareRoot => (UnaryOperator::PGSquareRoot, OTHER),
        Token::PGCubeRoot => (UnaryOperator::PGCubeRoot, OTHER),
        Token::DoubleExclamationMark => (UnaryOperator::PGPrefixFactorial, OTHER),
        Token::ExclamationMark => (UnaryOperator::BangNot, OTHER),
        Token::Sharp => (UnaryOperator::Hash, OTHER),
        Token::AtDashAt => (UnaryOperator::AtDashAt, OTHER),
        Token::AtAt => (UnaryOperator::DoubleAt, OTHER),
        Token::QuestionMarkDash => (UnaryOperator::QuestionDash, OTHER),
        Token::QuestionPipe => (UnaryOperator::QuestionPipe, OTHER),
        _ => return None,
    };
    parser.advance_token();
    Some(parser.parse_subexpr(level).map(|operand| Expr::UnaryOp { op, expr: Box::new(operand) }))
}

/// What follows an operand, when it does not associate or the grammar reads it differently.
pub(super) fn infix(parser: &mut Parser<'_>, left: &Expr) -> Option<Result<Expr, ParserError>> {
    let token = parser.peek_token_ref().token.clone();
    if let Some(op) = comparison(&token) {
        parser.advance_token();
        return Some(binary(parser, left, op, COMPARISON));
    }
    let quantified = matches!(&parser.peek_nth_token_ref(1).token, Token::Word(word) if word.quote_style.is_none()
        && matches!(word.keyword, Keyword::ANY | Keyword::SOME | Keyword::ALL))
        && parser.peek_nth_token_ref(2).token == Token::LParen;
    if quantified && !matches!(token, Token::Word(_)) {
        parser.advance_token();
        return Some(binary(parser, left, BinaryOperator::Custom(token.to_string()), OTHER));
    }
    match &token {
        Token::DoubleEq
        | Token::ExclamationMark
        | Token::DoubleExclamationMark
        | Token::PGSquareRoot
        | Token::PGCubeRoot => {
            parser.advance_token();
            let op = BinaryOperator::Custom(token.to_string());
            return Some(binary(parser, left, op, OTHER));
        }
        _ if is_isnull(&token) => {
            parser.advance_token();
            return Some(Ok(Expr::IsNull(Box::new(left.clone()))));
        }
        _ => {}
    }
    if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
        return Some(distinct(parser, left, Expr::IsDistinctFrom));
    }
    if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
        return Some(distinct(parser, left, Expr::IsNotDistinctFrom));
    }
    for (keyword, make) in MATCHERS {
        let negated = parser.parse_keywords(&[Keyword::NOT, *keyword]);
        if negated || parser.parse_keyword(*keyword) {
            return Some(make(parser, left, negated));
        }
    }
    None
}

type Matcher = fn(&mut Parser<'_>, &Expr, bool) -> Result<Expr, ParserError>;

const MATCHERS: &[(Keyword, Matcher)] = &[
    (Keyword::BETWEEN, |parser, left, negated| {
        let low = parser.parse_subexpr(LOWER_BOUND)?;
        parser.expect_keyword_is(Keyword::AND)?;
        let high = right_operand(parser, MATCHING)?;
        Ok(Expr::Between { expr: Box::new(left.clone()), negated, low: Box::new(low), high })
    }),
    (Keyword::LIKE, |parser, left, negated| {
        let pattern = Box::new(parser.parse_subexpr(MATCHING)?);
        let escape_char = parser.parse_escape_char()?;
        alone(parser, MATCHING)?;
        Ok(Expr::Like { negated, any: false, expr: Box::new(left.clone()), pattern, escape_char })
    }),
    (Keyword::ILIKE, |parser, left, negated| {
        let pattern = Box::new(parser.parse_subexpr(MATCHING)?);
        let escape_char = parser.parse_escape_char()?;
        alone(parser, MATCHING)?;
        Ok(Expr::ILike { negated, any: false, expr: Box::new(left.clone()), pattern, escape_char })
    }),
    (Keyword::SIMILAR, |parser, left, negated| {
        parser.expect_keyword_is(Keyword::TO)?;
        let pattern = Box::new(parser.parse_subexpr(MATCHING)?);
        let escape_char = parser.parse_escape_char()?;
        alone(parser, MATCHING)?;
        Ok(Expr::SimilarTo { negated, expr: Box::new(left.clone()), pattern, escape_char })
    }),
];

fn distinct(
    parser: &mut Parser<'_>,
    left: &Expr,
    make: fn(Box<Expr>, Box<Expr>) -> Expr,
) -> Result<Expr, ParserError> {
    let right = right_operand(parser, IS)?;
    Ok(make(Box::new(left.clone()), right))
}

/// The right side of a binary operator, ANY and ALL included.
fn binary(parser: &mut Parser<'_>, left: &Expr, op: BinaryOperator, level: u8) -> Result<Expr, ParserError> {
    let left = Box::new(left.clone());
    let quantifier = parser.parse_one_of_keywords(&[Keyword::ANY, Keyword::SOME, Keyword::ALL]);
    let Some(quantifier) = quantifier else {
        let right = if level == COMPARISON {
            right_operand(parser, level)?
        } else {
            Box::new(parser.parse_subexpr(level)?)
        };
        return Ok(Expr::BinaryOp { left, op, right });
    };
    parser.expect_token(&Token::LParen)?;
    let is_query = matches!(&parser.peek_token_ref().token, Token::Word(word) if word.quote_style.is_none()
        && matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES));
    let right = if is_query { Expr::Subquery(parser.parse_query()?) } else { parser.parse_expr()? };
    parser.expect_token(&Token::RParen)?;
    let right = Box::new(right);
    Ok(match quantifier {
        Keyword::ALL => Expr::AllOp { left, compare_op: op, right },
        _ => Expr::AnyOp { left, compare_op: op, right, is_some: quantifier == Keyword::SOME },
    })
}

/// The right operand of what does not associate.
fn right_operand(parser: &mut Parser<'_>, level: u8) -> Result<Box<Expr>, ParserError> {
    let operand = parser.parse_subexpr(level)?;
    alone(parser, level)?;
    Ok(Box::new(operand))
}

/// Refuses an operator of this level as the next token.
fn alone(parser: &Parser<'_>, level: u8) -> Result<(), ParserError> {
    if parser.get_next_precedence()? == level {
        return parser.expected_ref("an operator of another level", parser.peek_token_ref());
    }
    Ok(())
}
