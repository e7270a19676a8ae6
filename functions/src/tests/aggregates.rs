//! Aggregates, window functions and set-returning functions; results are PostgreSQL 15's.

use basalt_types::{Datum, Oid, SqlType, sql_type::type_by_name};

use crate::tests::session::context;
use crate::{Accumulator, Call, Function, FunctionKind, WindowPartition, io, registry};

fn sql_type(name: &str) -> SqlType {
    SqlType::new(type_by_name(name).expect("a type's name").oid, -1)
}

fn values(sql_type: SqlType, texts: &[&str]) -> Vec<Datum> {
    let context = context();
    let call = Call { context: &context, arg_types: &[], return_type: sql_type };
    let read = |text: &&str| {
        if *text == "NULL" { Datum::Null } else { io::input(&call, sql_type, text).expect("valid input") }
    };
    texts.iter().map(read).collect()
}

fn aggregate(name: &str, args: &[Oid]) -> &'static Function {
    registry()
        .functions_named(name)
        .iter()
        .find(|function| {
            function.aggregate().is_some()
                && function.args.len() == args.len()
                && function.args.iter().zip(args).all(|(declared, actual)| {
                    declared == actual
                        || matches!(*declared, Oid::ANY | Oid::ANYELEMENT)
                        || (*declared == Oid::ANYNONARRAY && !SqlType::new(*actual, -1).is_array())
                        || (*declared == Oid::ANYARRAY && SqlType::new(*actual, -1).is_array())
                })
        })
        .unwrap_or_else(|| panic!("no aggregate {name}({args:?})"))
}

/// Adds rows in one pass, or in parts that are then merged.
fn fold(function: &Function, types: &[SqlType], rows: &[Vec<Datum>], cuts: &[usize]) -> Datum {
    let context = context();
    let call = Call { context: &context, arg_types: types, return_type: SqlType::new(function.returns, -1) };
    let aggregate = function.aggregate().expect("an aggregate");
    let part = |rows: &[Vec<Datum>]| {
        let mut accumulator = (aggregate.new)(&call);
        for row in rows.iter().filter(|row| !(aggregate.strict && row.iter().any(Datum::is_null))) {
            accumulator.update(row).expect("the rows are valid");
        }
        accumulator
    };
    let mut bounds = vec![0];
    bounds.extend(cuts);
    bounds.push(rows.len());
    let mut total: Box<dyn Accumulator> = part(&rows[bounds[0]..bounds[1]]);
    for window in bounds[1..].windows(2) {
        let state = part(&rows[window[0]..window[1]]).state();
        assert_eq!(state.len(), (aggregate.state_types)(types).len());
        total.merge(&state).expect("states of one aggregate merge");
    }
    total.finish().expect("the result is in range")
}

const CASES: &[(&str, &str, &[&str], &str)] = &[
    ("sum", "int4", &["1", "2147483647", "NULL", "5"], "2147483653"),
    ("sum", "int8", &["9223372036854775807", "9223372036854775807"], "18446744073709551614"),
    ("sum", "int2", &[], "NULL"),
    ("sum", "numeric", &["1.50", "2.5", "NaN"], "NaN"),
    ("sum", "numeric", &["1.50", "2.5"], "4.00"),
    ("sum", "float8", &["0.5", "0.25"], "0.75"),
    ("sum", "interval", &["1 mon", "2 days 03:00"], "1 mon 2 days 03:00:00"),
    ("avg", "int4", &["1", "2", "NULL"], "1.5000000000000000"),
    ("avg", "int8", &["10", "20", "25"], "18.3333333333333333"),
    ("avg", "numeric", &["1.1", "2.25"], "1.6750000000000000"),
    ("avg", "float8", &["1", "2"], "1.5"),
    ("avg", "interval", &["1 day", "2 days"], "1 day 12:00:00"),
    ("min", "text", &["b", "a", "NULL"], "a"),
    ("max", "numeric", &["1.0", "NaN", "5"], "NaN"),
    ("max", "timestamp", &["2024-01-01", "infinity"], "infinity"),
    ("count", "text", &["b", "NULL"], "1"),
    ("bool_and", "bool", &["t", "f", "NULL"], "f"),
    ("bool_or", "bool", &["f", "NULL"], "f"),
    ("every", "bool", &[], "NULL"),
    ("bit_and", "int4", &["12", "10"], "8"),
    ("bit_or", "int2", &["12", "-32768"], "-32756"),
    ("bit_xor", "int8", &["12", "10"], "6"),
    ("array_agg", "int4", &["1", "NULL", "3"], "{1,NULL,3}"),
    ("array_agg", "_int4", &["{1,2}", "{3,4}"], "{{1,2},{3,4}}"),
    ("variance", "int4", &["1", "2", "3", "4"], "1.6666666666666667"),
    ("stddev", "int4", &["1", "2", "3", "4"], "1.2909944487358056"),
    ("stddev_pop", "numeric", &["1.5", "2.5"], "0.50000000000000000000"),
    ("var_pop", "int8", &["5"], "0"),
    ("var_samp", "int8", &["5"], "NULL"),
    ("variance", "float8", &["1", "2", "3", "4"], "1.6666666666666667"),
    ("stddev_samp", "float4", &["1", "2", "4"], "1.5275252316519468"),
    ("mode", "text", &["a", "b", "b", "c"], "b"),
];

#[test]
fn aggregates_agree_with_postgresql() {
    let context = context();
    for (name, type_name, inputs, expected) in CASES {
        let input = sql_type(type_name);
        let function = aggregate(name, &[input.oid]);
        let rows: Vec<Vec<Datum>> = values(input, inputs).into_iter().map(|value| vec![value]).collect();
        let returns = match function.returns {
            Oid::ANYARRAY if input.is_array() => input,
            Oid::ANYARRAY => input.array().expect("an array type"),
            Oid::ANYELEMENT => input,
            oid => SqlType::new(oid, -1),
        };
        // The last digit of a float depends on the order of the operations.
        let cuts = if type_name.starts_with("float") { 0..=0 } else { 0..=rows.len() };
        for cut in cuts {
            let result = fold(function, &[input], &rows, &[cut]);
            let call = Call { context: &context, arg_types: &[], return_type: returns };
            let text = if result.is_null() { "NULL".into() } else { io::output(&call, &result, returns) };
            assert_eq!(text, *expected, "{name}({type_name}) of {inputs:?} cut at {cut}");
        }
    }
}

/// Any partition of the rows gives the result of one pass.
#[test]
fn merged_parts_equal_one_pass() {
    let mut seed = 12345u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as i32
    };
    for round in 0..200 {
        let count = 1 + round % 40;
        let integers: Vec<Vec<Datum>> = (0..count)
            .map(|_| vec![if random() % 5 == 0 { Datum::Null } else { Datum::Int4(random() % 1000 - 500) }])
            .collect();
        let mut cuts: Vec<usize> = (0..3).map(|_| random() as usize % (count + 1)).collect();
        cuts.sort_unstable();
        for name in ["sum", "avg", "min", "max", "variance", "stddev_pop", "bit_xor", "array_agg", "count"] {
            let function = aggregate(name, &[Oid::INT4]);
            let whole = fold(function, &[SqlType::INT4], &integers, &[]);
            assert_eq!(
                whole,
                fold(function, &[SqlType::INT4], &integers, &cuts),
                "{name} of {integers:?} at {cuts:?}"
            );
        }
        let floats: Vec<Vec<Datum>> = (0..count)
            .map(|_| vec![Datum::Float8(f64::from(random() % 97)), Datum::Float8(f64::from(random() % 89))])
            .collect();
        for name in ["corr", "regr_slope", "covar_pop", "regr_count"] {
            let function = aggregate(name, &[Oid::FLOAT8, Oid::FLOAT8]);
            let types = [SqlType::FLOAT8, SqlType::FLOAT8];
            match (fold(function, &types, &floats, &[]), fold(function, &types, &floats, &cuts)) {
                (Datum::Float8(a), Datum::Float8(b)) => {
                    assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{name}: {a} and {b}");
                }
                (a, b) => assert_eq!(a, b, "{name}"),
            }
        }
    }
}

#[test]
fn strings_join_across_parts() {
    let rows: Vec<Vec<Datum>> = [("a", ","), ("b", ";"), ("c", "-")]
        .map(|(value, delimiter)| vec![Datum::text(value), Datum::text(delimiter)])
        .to_vec();
    let function = aggregate("string_agg", &[Oid::TEXT, Oid::TEXT]);
    for cut in 0..=3 {
        assert_eq!(fold(function, &[SqlType::TEXT, SqlType::TEXT], &rows, &[cut]), Datum::text("a;b-c"));
    }
}

#[test]
fn percentiles_of_sorted_rows() {
    let rows: Vec<Vec<Datum>> =
        [10.0, 20.0, 30.0, 40.0].map(|value| vec![Datum::Float8(0.5), Datum::Float8(value)]).to_vec();
    let types = [SqlType::FLOAT8, SqlType::FLOAT8];
    let result = |name| fold(aggregate(name, &[Oid::FLOAT8, Oid::FLOAT8]), &types, &rows, &[]);
    assert_eq!(result("percentile_cont"), Datum::Float8(25.0));
    assert_eq!(result("percentile_disc"), Datum::Float8(20.0));
}

/// Peers are equal first arguments; the frame runs to the last peer.
struct Partition(Vec<Vec<Datum>>);

impl WindowPartition for Partition {
    fn rows(&self) -> usize {
        self.0.len()
    }
    fn args(&self, row: usize) -> &[Datum] {
        &self.0[row]
    }
    fn peers_start(&self, row: usize) -> usize {
        self.0.iter().position(|other| other[0] == self.0[row][0]).unwrap_or(row)
    }
    fn peers_end(&self, row: usize) -> usize {
        self.0.iter().rposition(|other| other[0] == self.0[row][0]).unwrap_or(row) + 1
    }
    fn peer_group(&self, row: usize) -> usize {
        (1..=row).filter(|index| self.0[*index][0] != self.0[index - 1][0]).count()
    }
    fn frame(&self, row: usize) -> (usize, usize) {
        (0, self.peers_end(row))
    }
}

fn window(name: &str, args: usize, partition: &Partition) -> Vec<String> {
    let functions = registry().functions_named(name).iter();
    let function = functions
        .filter(|function| function.args.len() == args)
        .find_map(
            |function| if let FunctionKind::Window(window) = function.kind { Some(window) } else { None },
        )
        .unwrap_or_else(|| panic!("no window function {name}"));
    let context = context();
    let call = Call { context: &context, arg_types: &[], return_type: SqlType::INT4 };
    (0..partition.rows())
        .map(|row| match function(&call, partition, row).expect("valid arguments") {
            Datum::Null => "N".into(),
            Datum::Int4(value) => value.to_string(),
            Datum::Int8(value) => value.to_string(),
            Datum::Float8(value) => format!("{value:.4}"),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn window_functions_rank_and_navigate() {
    let one = |values: &[i32]| Partition(values.iter().map(|value| vec![Datum::Int4(*value)]).collect());
    let partition = one(&[10, 20, 20, 30, 40]);
    assert_eq!(window("row_number", 0, &partition), ["1", "2", "3", "4", "5"]);
    assert_eq!(window("rank", 0, &partition), ["1", "2", "2", "4", "5"]);
    assert_eq!(window("dense_rank", 0, &partition), ["1", "2", "2", "3", "4"]);
    assert_eq!(window("percent_rank", 0, &partition), ["0.0000", "0.2500", "0.2500", "0.7500", "1.0000"]);
    assert_eq!(window("cume_dist", 0, &partition), ["0.2000", "0.6000", "0.6000", "0.8000", "1.0000"]);
    assert_eq!(window("lag", 1, &partition), ["N", "10", "20", "20", "30"]);
    assert_eq!(window("lead", 1, &partition), ["20", "20", "30", "40", "N"]);
    assert_eq!(window("first_value", 1, &partition), ["10"; 5]);
    assert_eq!(window("last_value", 1, &partition), ["10", "20", "20", "30", "40"]);
    let buckets = Partition(vec![vec![Datum::Int4(3)]; 8]);
    assert_eq!(window("ntile", 1, &buckets), ["1", "1", "1", "2", "2", "2", "3", "3"]);
}

#[test]
fn sets_are_made_row_by_row() {
    let context = context();
    let call = Call { context: &context, arg_types: &[], return_type: SqlType::TEXT };
    let rows = |name: &str, args: &[Oid], values: &[Datum]| {
        let function = registry().function(name, args).expect("a set-returning function");
        let FunctionKind::Set { rows, .. } = &function.kind else { panic!("{name} returns no set") };
        rows(&call, values)
            .map(|rows| rows.take(10).map(|row| row.expect("a row")[0].clone()).collect::<Vec<_>>())
    };
    let series =
        |from, to, step| rows("generate_series", &[Oid::INT4; 3], &[from, to, step].map(Datum::Int4));
    assert_eq!(series(1, 5, 2).expect("a series"), [1, 3, 5].map(Datum::Int4));
    assert_eq!(series(3, 1, -1).expect("a series"), [3, 2, 1].map(Datum::Int4));
    assert_eq!(series(3, 1, 1).expect("a series"), []);
    assert_eq!(series(i32::MAX - 1, i32::MAX, 1).expect("a series").len(), 2);
    assert_eq!(series(1, 2, 0).expect_err("no step").sqlstate().as_str(), "22023");
    let large = [i64::MAX - 1, i64::MAX].map(Datum::Int8);
    assert_eq!(rows("generate_series", &[Oid::INT8; 2], &large).expect("a series").len(), 2);
    let text = [Datum::text("a1b22"), Datum::text("[0-9]+")];
    let split = rows("regexp_split_to_table", &[Oid::TEXT; 2], &text).expect("rows");
    assert_eq!(split, ["a", "b", ""].map(Datum::text));
}
