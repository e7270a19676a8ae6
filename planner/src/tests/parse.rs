use crate::{
    ParsedBody, parse,
    parse::{FetchCount, NodeChange, Utility},
};

fn utility(sql: &str) -> Utility {
    match parse(sql).expect(sql).remove(0).body {
        ParsedBody::Utility(utility) => utility,
        ParsedBody::Sql(statement) => panic!("{sql} became {statement}"),
    }
}

#[test]
fn statements_keep_their_text() {
    let statements = parse(" SELECT 1 ;; select 'a;b' -- x\n ; ").expect("two statements");
    let texts: Vec<&str> = statements.iter().map(|statement| &*statement.text).collect();
    assert_eq!(texts, ["SELECT 1", "select 'a;b'"]);
    assert!(parse("  ; -- nothing").expect("nothing").is_empty());
}

#[test]
fn syntax_errors_have_the_position_of_postgresql() {
    for (sql, message, position) in [
        ("SELEC 1", "syntax error at or near \"SELEC\"", 1),
        ("SELECT 1 FROM", "syntax error at end of input", 14),
        ("SELECT 'é', * FROM t t WHERE a ) = 1", "syntax error at or near \")\"", 32),
        ("select not", "syntax error at end of input", 11),
        ("select 1 or or 2", "syntax error at or near \"or\"", 13),
        ("select case when 1=1 then 2", "syntax error at end of input", 28),
        ("select * form t", "syntax error at or near \"form\"", 10),
        ("select 1 from t where a < 2 < 3", "syntax error at or near \"<\"", 29),
        ("delete t", "syntax error at or near \"t\"", 8),
        ("SELECT 1 +", "syntax error at end of input", 11),
        ("select (1", "syntax error at end of input", 10),
        ("select 1\nfrom t\nlimit 1 limit", "syntax error at or near \"limit\"", 25),
    ] {
        let error = parse(sql).expect_err(sql);
        assert_eq!(error.message(), message, "{sql}");
        assert_eq!(error.sqlstate().as_str(), "42601", "{sql}");
        assert_eq!(error.fields().position, Some(position), "{sql}");
    }
}

#[test]
fn nesting_is_bounded() {
    for sql in [
        format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000)),
        format!("SELECT 1{}", "+1".repeat(50_000)),
        format!("SELECT {}1", "NOT ".repeat(50_000)),
        format!("SELECT {}1", "- ".repeat(50_000)),
    ] {
        assert_eq!(parse(&sql).expect_err("too deep").sqlstate().as_str(), "54001");
    }
    let list = vec!["1"; 20_000].join(",");
    parse(&format!("SELECT 1 WHERE 1 IN ({list})")).expect("a long list is not deep");
}

#[test]
fn the_moment_of_a_read_is_taken_out() {
    let moment = |sql: &str| parse(sql).map(|mut statements| statements.remove(0).as_of);
    let at = moment("select a from t as of system time '-10s' where b = 1").unwrap();
    assert_eq!(at.as_deref(), Some("-10s"));
    assert_eq!(
        moment("BEGIN AS OF SYSTEM TIME '2026-01-02 03:04:05'").unwrap().as_deref(),
        Some("2026-01-02 03:04:05")
    );
    for call in ["follower_read_timestamp()", "FOLLOWER_READ_TIMESTAMP ( )"] {
        let at = moment(&format!("select a from t as of system time {call} where b = 1")).unwrap();
        assert_eq!(at.as_deref(), Some("-4.8s"));
    }
    assert_eq!(moment("select 1 as of").unwrap_or_default(), None);
    assert_eq!(moment("select system as of").unwrap_or_default(), None);
    for (wrong, state) in [
        ("select * from (select a from t as of system time '-10s') as u", "42601"),
        ("select a from t as of system time", "42601"),
        ("select a from t as of system time 10", "42601"),
        ("delete from t as of system time '-1s'", "0A000"),
        ("select a from t as of system time '-1s' as of system time '-1s'", "42601"),
    ] {
        assert_eq!(moment(wrong).expect_err(wrong).sqlstate().as_str(), state, "{wrong}");
    }
}

#[test]
fn own_statements() {
    assert!(
        matches!(utility("show transaction isolation level"), Utility::Show { name } if name == "transaction_isolation")
    );
    assert!(
        matches!(utility("SET x.y TO 'a', B"), Utility::Set { local: false, name, values } if name == "x.y" && values == ["a", "b"])
    );
    assert!(
        matches!(utility("set local timezone = default"), Utility::Set { local: true, values, .. } if values.is_empty())
    );
    assert!(
        matches!(utility("vacuum analyze pgbench_branches"), Utility::Vacuum { vacuum: true, analyze: true, tables } if tables.len() == 1)
    );
    assert!(matches!(
        utility("ALTER NODE 3 DECOMMISSION"),
        Utility::AlterNode { node: 3, change: NodeChange::Decommission }
    ));
    for wrong in
        ["alter node", "alter node x drain", "alter node 3", "alter node 3 sleep", "alter node 3 drain now"]
    {
        assert_eq!(parse(wrong).expect_err(wrong).sqlstate().as_str(), "42601");
    }
    assert!(matches!(
        utility("fetch 10 from c"),
        Utility::Fetch { count: FetchCount::Rows(10), is_move: false, .. }
    ));
    assert!(matches!(utility("declare c cursor for select 1"), Utility::Declare { .. }));
    assert!(matches!(utility("reset all"), Utility::Reset { name: None }));
}

#[test]
fn what_clients_send() {
    for sql in [
        "begin",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        "start transaction isolation level repeatable read",
        "commit",
        "end",
        "abort",
        "savepoint a",
        "rollback to savepoint a",
        "release savepoint a",
        "copy pgbench_accounts from stdin with (freeze on)",
        "copy t from stdin",
        "copy t (a, b) from stdin with (format csv, header true)",
        "copy t to stdout",
        "truncate table a, b",
        "alter table pgbench_branches add primary key (bid)",
        "create table pgbench_tellers(tid int not null,bid int,tbalance int,filler char(84)) with (fillfactor=100)",
        "drop table if exists a, b",
        "create unique index i on t (a, b desc)",
        "set transaction isolation level serializable",
        "set session characteristics as transaction isolation level serializable",
        "discard all",
        "prepare p(int) as select $1",
        "execute p(1)",
        "deallocate p",
        "explain (analyze, format json) select 1",
        "SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname OPERATOR(pg_catalog.~) '^(public)$' COLLATE pg_catalog.default",
        "create schema s",
        "create database d",
        "insert into t values (1) on conflict (id) do update set a = excluded.a returning *",
    ] {
        let parsed = parse(sql);
        assert!(parsed.is_ok(), "{sql}: {parsed:?}");
    }
}

#[test]
fn nested_calls_take_linear_time() {
    let sql = format!("SELECT {}1{}", "abs(".repeat(120), ")".repeat(120));
    parse(&sql).expect("a deep call is a call");
}
