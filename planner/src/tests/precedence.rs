//! How operators associate, compared with PostgreSQL's answers for every pair of forms.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, visit_expressions_mut};

use crate::parse::parse_expression;

/// One row for each first form and a column for each second one, in the order of the rows: `l` where the first binds
/// its operands before the second, `r` where the second does, `!` for a syntax error. PostgreSQL 15 filled it in.
const ANSWERS: &str = include_str!("precedence.txt");

const PREFIXES: &[&str] = &["NOT", "-", "+", "~", "@", "|/", "||/"];
const POSTFIXES: &[&str] =
    &["IS NULL", "IS NOT TRUE", "ISNULL", "NOTNULL", "IN (d)", "NOT IN (d, d)", "= ANY (e)", "+ ALL (e)"];

/// The tree without the parentheses that made it.
fn shape(sql: &str) -> Option<Expr> {
    let (mut expr, _) = parse_expression(sql).ok()?;
    let _ = visit_expressions_mut(&mut expr, |expr| {
        while let Expr::Nested(inner) = expr {
            *expr = (**inner).clone();
        }
        ControlFlow::<()>::Continue(())
    });
    Some(expr)
}

fn expected_columns() -> Vec<&'static str> {
    ANSWERS.lines().map(|line| line[..22].trim_end()).filter(|form| is_column(form)).collect()
}

/// A prefix that is an infix operator, too, stands in the table twice.
fn is_column(form: &str) -> bool {
    !matches!(form, "NOT" | "@" | "|/" | "||/")
}

#[test]
fn every_pair_of_operators() {
    let rows: Vec<(&str, &str)> =
        ANSWERS.lines().map(|line| (line[..22].trim_end(), line[22..].trim_end())).collect();
    let columns = &expected_columns()[..rows[0].1.len()];
    let mut wrong = Vec::new();
    for (at, (first, answers)) in rows.iter().enumerate() {
        let is_prefix = at >= columns.len();
        assert_eq!(is_prefix, PREFIXES.contains(first) && at >= columns.len(), "{first}");
        for (second, answer) in columns.iter().zip(answers.chars()) {
            let is_postfix = POSTFIXES.contains(second);
            let (end, closed) = if is_postfix { ("", ")") } else { (" c", " c)") };
            let (plain, left, right) = if is_prefix {
                (
                    format!("{first} a {second}{end}"),
                    format!("({first} a) {second}{end}"),
                    format!("{first} (a {second}{closed}"),
                )
            } else if POSTFIXES.contains(first) {
                (format!("a {first} {second}{end}"), format!("(a {first}) {second}{end}"), "0".to_owned())
            } else {
                (
                    format!("a {first} b {second}{end}"),
                    format!("(a {first} b) {second}{end}"),
                    format!("a {first} (b {second}{closed}"),
                )
            };
            let found = match shape(&plain) {
                None => '!',
                found if found == shape(&left) => 'l',
                found if found == shape(&right) => 'r',
                Some(_) => '?',
            };
            if found != answer {
                wrong.push(format!("{plain}: {found}, PostgreSQL {answer}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn operators_with_operands_of_their_own() {
    for (plain, explicit) in [
        ("- a ^ b", "(- a) ^ b"),
        ("- a::int", "- (a::int)"),
        ("- a[1]", "- (a[1])"),
        ("- a AT TIME ZONE b", "(- a) AT TIME ZONE b"),
        ("a ^ b AT TIME ZONE c", "a ^ (b AT TIME ZONE c)"),
        ("a AT TIME ZONE b AT TIME ZONE c", "(a AT TIME ZONE b) AT TIME ZONE c"),
        ("a ^ - b ^ c", "(a ^ (- b)) ^ c"),
        ("a * @ b + c || d", "(a * (@ (b + c))) || d"),
        ("a = NOT b = c", "a = (NOT (b = c))"),
        ("a BETWEEN b = c AND d", "a BETWEEN (b = c) AND d"),
        ("a BETWEEN b AND c = d", "(a BETWEEN b AND c) = d"),
        ("a LIKE b ESCAPE 'c' = d", "(a LIKE b ESCAPE 'c') = d"),
        ("a SIMILAR TO b || c", "a SIMILAR TO (b || c)"),
        ("a -> b ->> c = d", "((a -> b) ->> c) = d"),
        ("a == b = c", "(a == b) = c"),
    ] {
        assert_eq!(shape(plain).expect(plain), shape(explicit).expect(explicit), "{plain}");
    }
}
