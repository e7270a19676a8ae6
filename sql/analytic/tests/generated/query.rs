//! Random queries over two random tables.

use crate::expression::{Random, Source, TYPES, Type, expression, predicate};

/// What makes and fills the tables.
pub fn tables(random: &mut Random, rows: usize) -> Vec<String> {
    let mut statements = vec![
        "CREATE TABLE a (id int PRIMARY KEY, i int, s smallint, g bigint, n numeric, m numeric(10, 2), f float8, t text, \
         c char(3), b bool, d date, ts timestamp)"
            .to_owned(),
        "CREATE TABLE b (id int PRIMARY KEY, i int, n numeric(8, 3), f float8, t text, d date)".to_owned(),
        "CREATE INDEX b_i ON b (i)".to_owned(),
    ];
    for (table, count) in [("a", rows), ("b", rows / 3)] {
        let values: Vec<String> = (0..count).map(|id| row(random, table, id)).collect();
        for values in values.chunks(100) {
            statements.push(format!("INSERT INTO {table} VALUES {}", values.join(", ")));
        }
    }
    statements
}

fn row(random: &mut Random, table: &str, id: usize) -> String {
    let mut value = |from: &[&str]| if random.rarely(6) { "NULL" } else { random.pick(from) }.to_owned();
    let int = ["-5", "0", "1", "2", "3", "4", "7", "100"];
    let float = ["'-0'", "0", "1.5", "-2.25", "'NaN'", "'Infinity'", "'-Infinity'", "3"];
    let text = ["'a'", "'abc'", "'b'", "'B'", "''", "'zz top'", "'ab'", "'été'"];
    let date = ["'2020-01-01'", "'2020-01-05'", "'2020-02-29'", "'1999-12-31'", "'infinity'", "'2020-01-06'"];
    let fields = if table == "a" {
        let stamp =
            ["'2020-01-01'", "'2020-01-01 10:00'", "'2020-03-01 23:59:59.5'", "'2019-12-31 01:02:03'"];
        vec![
            value(&int),
            value(&["-3", "0", "1", "9", "300"]),
            value(&["0", "1", "-7", "5000000000", "-9000000000", "3"]),
            value(&["0", "0.5", "0.50", "1.25", "-2", "-2.000", "'NaN'", "12345678901234567890.5", "3"]),
            value(&["0", "0.5", "1.25", "-2", "99999.99", "3"]),
            value(&float),
            value(&text),
            value(&["'a'", "'a '", "'ab'", "''", "'xyz'"]),
            value(&["true", "false"]),
            value(&date),
            value(&stamp),
        ]
    } else {
        let numeric = ["0", "0.5", "1.25", "-2", "3.125", "'NaN'"];
        vec![value(&int), value(&numeric), value(&float), value(&text), value(&date)]
    };
    format!("({id}, {})", fields.join(", "))
}

fn sources(alias: &str, table: &str) -> Vec<Source> {
    let columns: &[(&str, Type)] = if table == "a" {
        &[
            ("id", Type::Int),
            ("i", Type::Int),
            ("g", Type::Big),
            ("n", Type::Num),
            ("m", Type::Num),
            ("f", Type::Float),
            ("t", Type::Text),
            ("b", Type::Bool),
            ("d", Type::Date),
            ("ts", Type::Stamp),
        ]
    } else {
        &[
            ("id", Type::Int),
            ("i", Type::Int),
            ("n", Type::Num),
            ("f", Type::Float),
            ("t", Type::Text),
            ("d", Type::Date),
        ]
    };
    columns.iter().map(|&(name, ty)| Source { name: format!("{alias}.{name}"), ty }).collect()
}

/// FROM and what it gives.
struct From {
    text: String,
    sources: Vec<Source>,
    /// Names one row.
    key: &'static str,
}

fn from(random: &mut Random) -> From {
    let (x, y) = (sources("x", "a"), sources("y", "b"));
    if random.rarely(2) {
        return From { text: "a x".to_owned(), sources: x, key: "x.id" };
    }
    let both = [x, y].concat();
    let on = match random.below(5) {
        0 => "x.i = y.i",
        1 => "x.n = y.n",
        2 => "x.t = y.t AND x.id > y.id",
        3 => "x.f = y.f AND (x.d IS NOT DISTINCT FROM y.d)",
        _ => "x.id = y.i",
    };
    let kind = random.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "JOIN"]);
    let extra =
        if random.rarely(3) { format!(" AND {}", predicate(random, &both, 1)) } else { String::new() };
    // Full joins need conditions that can be hashed only.
    let extra = if kind == "FULL JOIN" { String::new() } else { extra };
    From { text: format!("a x {kind} b y ON {on}{extra}"), sources: both, key: "x.id, y.id" }
}

fn any_expression(random: &mut Random, sources: &[Source], depth: usize) -> String {
    let ty = TYPES[random.below(TYPES.len())];
    expression(random, sources, ty, depth)
}

fn filter(random: &mut Random, sources: &[Source]) -> String {
    match random.below(6) {
        0 => String::new(),
        1 => format!(" WHERE {}", subquery_condition(random, sources)),
        2 => {
            let own = predicate(random, sources, 1);
            format!(" WHERE {own} {} {}", random.pick(&["AND", "OR"]), subquery_condition(random, sources))
        }
        _ => format!(" WHERE {}", predicate(random, sources, 2)),
    }
}

fn subquery_condition(random: &mut Random, sources: &[Source]) -> String {
    let inner = sources_of_b();
    let int = expression(random, sources, Type::Int, 1);
    let number = expression(random, sources, Type::Num, 1);
    let condition = predicate(random, &inner, 1);
    let operator = random.pick(&["<", ">=", "=", "<>"]);
    match random.below(7) {
        0 => format!("{int} {operator} (SELECT max(z.i) FROM b z WHERE {condition})"),
        1 => format!("{number} {operator} (SELECT avg(z.n) FROM b z WHERE {condition})"),
        2 => format!("{int} {}IN (SELECT z.i FROM b z WHERE {condition})", random.pick(&["", "NOT "])),
        3 => format!(
            "{}EXISTS (SELECT 1 FROM b z WHERE z.i = x.i AND {condition})",
            random.pick(&["", "NOT "])
        ),
        4 => format!("EXISTS (SELECT 1 FROM b z WHERE {condition})"),
        5 => format!("x.t {}IN (SELECT z.t FROM b z WHERE {condition})", random.pick(&["", "NOT "])),
        _ => format!("coalesce((SELECT sum(z.i) FROM b z WHERE {condition}), 0) {operator} {int}"),
    }
}

fn sources_of_b() -> Vec<Source> {
    sources("z", "b")
}

/// Calls whose result does not depend on the order of rows.
fn aggregate(random: &mut Random, sources: &[Source]) -> String {
    let ty = TYPES[random.below(TYPES.len())];
    let (own, number) = (expression(random, sources, ty, 1), expression(random, sources, Type::Num, 1));
    let (int, big) = (expression(random, sources, Type::Int, 1), expression(random, sources, Type::Big, 1));
    let call = match random.below(10) {
        0 => "count(*)".to_owned(),
        1 => format!("count({own})"),
        2 => format!("count(DISTINCT {own})"),
        3 => format!("sum({int})"),
        4 => format!("sum({big})"),
        5 => format!("sum({number})"),
        6 => format!("avg({})", if random.rarely(2) { &int } else { &number }),
        7 => format!("bool_or({})", predicate(random, sources, 1)),
        8 => format!("round(avg({big}), 3)"),
        _ if ty == Type::Bool => format!("bool_and({own})"),
        _ => format!("{}({own})", random.pick(&["min", "max"])),
    };
    if random.rarely(4) && !call.starts_with("round") {
        return format!("{call} FILTER (WHERE {})", predicate(random, sources, 1));
    }
    call
}

/// Keys whose equal values look alike, so that any of them may be shown.
fn key(random: &mut Random, sources: &[Source]) -> String {
    let ty =
        [Type::Int, Type::Big, Type::Text, Type::Bool, Type::Date, Type::Num, Type::Stamp][random.below(7)];
    let key = expression(random, sources, ty, 1);
    if ty == Type::Num { format!("trim_scale({key})") } else { key }
}

fn grouped(random: &mut Random) -> String {
    let from = from(random);
    let filter = filter(random, &from.sources);
    let keys: Vec<String> = (0..random.below(3)).map(|_| key(random, &from.sources)).collect();
    let calls: Vec<String> = (0..1 + random.below(3)).map(|_| aggregate(random, &from.sources)).collect();
    let outputs = [keys.clone(), calls].concat().join(", ");
    let group = match keys.len() {
        0 => String::new(),
        count => {
            let positions: Vec<String> = (1..=count).map(|position| position.to_string()).collect();
            format!(" GROUP BY {}", positions.join(", "))
        }
    };
    let having = if random.rarely(4) { " HAVING count(*) > 1" } else { "" };
    format!("SELECT {outputs} FROM {}{filter}{group}{having}", from.text)
}

fn listed(random: &mut Random) -> String {
    let from = from(random);
    let filter = filter(random, &from.sources);
    let outputs: Vec<String> =
        (0..1 + random.below(3)).map(|_| any_expression(random, &from.sources, 2)).collect();
    let first = any_expression(random, &from.sources, 1);
    let direction = random.pick(&["", " DESC", " DESC NULLS LAST", " NULLS FIRST"]);
    let limit = random.pick(&["", " LIMIT 10", " LIMIT 7 OFFSET 3", " OFFSET 20"]);
    let key = from.key;
    format!(
        "SELECT {key}, {} FROM {}{filter} ORDER BY {first}{direction}, {key}{limit}",
        outputs.join(", "),
        from.text
    )
}

fn windowed(random: &mut Random) -> String {
    let from = from(random);
    let filter = filter(random, &from.sources);
    let partition = match random.below(3) {
        0 => String::new(),
        _ => format!("PARTITION BY {} ", any_expression(random, &from.sources, 1)),
    };
    let key = from.key;
    let whole = |random: &mut Random| {
        let frame = random.pick(&[
            "",
            " ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING",
            " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
            " ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING",
            " GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
            " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW",
        ]);
        let first = any_expression(random, &from.sources, 1);
        format!("({partition}ORDER BY {first}{}, {key}{frame})", random.pick(&["", " DESC", " NULLS FIRST"]))
    };
    let mut calls = Vec::new();
    for _ in 0..1 + random.below(2) {
        let own = any_expression(random, &from.sources, 1);
        let int = expression(random, &from.sources, Type::Int, 1);
        let number = expression(random, &from.sources, Type::Num, 1);
        calls.push(match random.below(12) {
            0 => format!("row_number() OVER {}", whole(random)),
            1 => {
                let order = any_expression(random, &from.sources, 1);
                let rank = random.pick(&["rank", "dense_rank", "percent_rank", "cume_dist"]);
                format!("{rank}() OVER ({partition}ORDER BY {order})")
            }
            2 => format!("ntile({}) OVER {}", random.pick(&["1", "3", "10"]), whole(random)),
            3 => format!("{}({own}, {}) OVER {}", random.pick(&["lag", "lead"]), random.pick(&["1", "2", "0", "-1"]), whole(random)),
            4 => format!("{}({own}) OVER {}", random.pick(&["first_value", "last_value"]), whole(random)),
            5 => format!("nth_value({own}, 2) OVER {}", whole(random)),
            6 => format!("count({own}) OVER {}", whole(random)),
            7 => format!("sum({int}) OVER {}", whole(random)),
            8 => format!("avg({number}) OVER {}", whole(random)),
            9 => {
                let frame = random.pick(&["BETWEEN 1 PRECEDING AND 1 FOLLOWING", "2 PRECEDING", "BETWEEN CURRENT ROW AND 3 FOLLOWING"]);
                format!("sum({number}) OVER ({partition}ORDER BY x.i{} RANGE {frame})", random.pick(&["", " DESC"]))
            }
            10 => format!(
                "count(*) OVER ({partition}ORDER BY x.{} RANGE BETWEEN interval '3 days' PRECEDING AND interval '1 day' FOLLOWING)",
                random.pick(&["d", "ts"])
            ),
            _ => format!("sum({int}) FILTER (WHERE {}) OVER ({partition}ORDER BY x.n)", predicate(random, &from.sources, 1)),
        });
    }
    format!("SELECT {key}, {} FROM {}{filter} ORDER BY {key}", calls.join(", "), from.text)
}

fn combined(random: &mut Random) -> String {
    let types: Vec<Type> = (0..1 + random.below(2))
        .map(|_| [Type::Int, Type::Text, Type::Date, Type::Num][random.below(4)])
        .collect();
    let side = |table: &str, random: &mut Random| {
        let own = sources("x", table);
        let outputs: Vec<String> = types
            .iter()
            .map(|&ty| {
                let output = expression(random, &own, ty, 1);
                if ty == Type::Num { format!("trim_scale({output})") } else { output }
            })
            .collect();
        format!("SELECT {} FROM {table} x WHERE {}", outputs.join(", "), predicate(random, &own, 1))
    };
    let operator = random.pick(&["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"]);
    let (left, right) = (side("a", random), side("b", random));
    format!("({left}) {operator} ({right})")
}

fn nested(random: &mut Random) -> String {
    let inner = grouped(random);
    match random.below(3) {
        0 => format!("WITH w AS MATERIALIZED ({inner}) SELECT count(*) FROM w v JOIN w u ON true"),
        1 => format!("SELECT count(*) FROM ({inner}) q"),
        _ => {
            let own = sources("x", "a");
            let (a, b) = (key(random, &own), key(random, &own));
            format!("SELECT DISTINCT {a}, {b} FROM a x WHERE {}", predicate(random, &own, 2))
        }
    }
}

/// A query of any shape.
pub fn query(random: &mut Random) -> String {
    match random.below(10) {
        0..=2 => grouped(random),
        3 | 4 => listed(random),
        5 | 6 => windowed(random),
        7 | 8 => combined(random),
        _ => nested(random),
    }
}
