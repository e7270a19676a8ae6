//! Constraints that are checked late, not at all, or while schemas change; rows too large to be written together.

use bytes::Bytes;

use crate::harness::{check, with_node};

const MISSING: &str =
    "ERROR 23503: insert or update on table \"d\" violates foreign key constraint \"d_r_fkey\"";

#[test]
fn savepoints_bring_deferred_checks_back() {
    let setup = "CREATE TABLE d (id int PRIMARY KEY, r int REFERENCES d DEFERRABLE INITIALLY DEFERRED)";
    check(
        setup,
        &[
            // Checks that failed wait again after ROLLBACK TO.
            ("BEGIN; INSERT INTO d VALUES (7, 8); SAVEPOINT a; SET CONSTRAINTS ALL IMMEDIATE", MISSING),
            ("ROLLBACK TO a; COMMIT", MISSING),
            ("SELECT count(*) FROM d", "0"),
            // So do those that were fulfilled by what is undone.
            (
                "BEGIN; INSERT INTO d VALUES (5, 6); SAVEPOINT a; INSERT INTO d VALUES (6, 6);
                 SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK TO a; COMMIT",
                MISSING,
            ),
            ("SELECT count(*) FROM d", "0"),
            // And the mode is what it was.
            ("BEGIN; SAVEPOINT a; SET CONSTRAINTS d_r_fkey IMMEDIATE; INSERT INTO d VALUES (9, 10)", MISSING),
            ("ROLLBACK TO a; INSERT INTO d VALUES (9, 10); INSERT INTO d VALUES (10, 10); COMMIT", ""),
            ("SELECT count(*) FROM d", "2"),
            // A released savepoint takes nothing back, an outer one does.
            (
                "BEGIN; INSERT INTO d VALUES (1, 2); SAVEPOINT a; SAVEPOINT b; INSERT INTO d VALUES (2, 2);
                 SET CONSTRAINTS ALL IMMEDIATE; RELEASE b; SET CONSTRAINTS ALL DEFERRED;
                 INSERT INTO d VALUES (3, 4); ROLLBACK TO a; INSERT INTO d VALUES (2, 1); COMMIT",
                "",
            ),
            ("SELECT count(*) FROM d", "4"),
            // The same savepoint may be gone back to again.
            (
                "BEGIN; SAVEPOINT a; INSERT INTO d VALUES (20, 21); ROLLBACK TO a;
                 INSERT INTO d VALUES (22, 22); ROLLBACK TO a; INSERT INTO d VALUES (23, 24); ROLLBACK TO a;
                 COMMIT",
                "",
            ),
            ("SELECT count(*) FROM d", "4"),
        ],
    );
}

#[test]
fn many_savepoints_between_deferred_checks() {
    with_node(async |node| {
        let mut client = node.client();
        let setup = "CREATE TABLE d (id int PRIMARY KEY, r int REFERENCES d DEFERRABLE INITIALLY DEFERRED)";
        assert_eq!(client.run(setup).await, "");
        assert_eq!(client.run("BEGIN").await, "");
        for id in 1..=300 {
            assert_eq!(client.run(&format!("INSERT INTO d VALUES ({id}, {id} + 1); SAVEPOINT s")).await, "");
        }
        assert_eq!(client.run("INSERT INTO d VALUES (301, 1); COMMIT; SELECT count(*) FROM d").await, "301");
    });
}

#[test]
fn tables_stay_as_they_are_while_checks_wait() {
    let waiting = |command: &str, table: &str| {
        format!("ERROR 55006: cannot {command} \"{table}\" because it has pending trigger events")
    };
    let setup = "CREATE TABLE p (id int PRIMARY KEY);
        CREATE TABLE c (id int PRIMARY KEY, r int REFERENCES p DEFERRABLE INITIALLY DEFERRED, n int);
        CREATE INDEX c_n ON c (n);
        INSERT INTO p VALUES (1);
        INSERT INTO c VALUES (1, 1, 0)";
    let insert = |then: &str| format!("BEGIN; INSERT INTO c VALUES (2, 2, 0); {then}; COMMIT");
    let delete = |then: &str| format!("BEGIN; DELETE FROM p WHERE id = 1; {then}; COMMIT");
    let left = "SELECT (SELECT count(*) FROM p), (SELECT count(*) FROM c)".to_owned();
    let referenced = "ERROR 23503: update or delete on table \"p\" violates foreign key constraint \
                      \"c_r_fkey\" on table \"c\"";
    let cases = [
        (insert("ALTER TABLE c DROP CONSTRAINT c_r_fkey"), waiting("ALTER TABLE", "c")),
        (insert("ALTER TABLE c ALTER n TYPE bigint"), waiting("ALTER TABLE", "c")),
        (insert("DROP TABLE c"), waiting("DROP TABLE", "c")),
        (insert("TRUNCATE c"), waiting("TRUNCATE", "c")),
        (insert("CREATE INDEX ON c (n)"), waiting("CREATE INDEX", "c")),
        (delete("ALTER TABLE p ADD COLUMN n int"), waiting("ALTER TABLE", "p")),
        // Nothing waits any more, or the change is none of the rows'.
        (
            insert("INSERT INTO p VALUES (2); SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE c ADD m int"),
            String::new(),
        ),
        (left.clone(), "2|2".to_owned()),
        (insert("ROLLBACK; BEGIN; ALTER TABLE c DROP COLUMN m"), duplicate()),
        (
            "BEGIN; INSERT INTO c VALUES (3, 3, 0); ALTER TABLE c RENAME n TO k; ALTER TABLE c RENAME TO e;
             INSERT INTO p VALUES (3); COMMIT; ALTER TABLE e RENAME TO c"
                .to_owned(),
            String::new(),
        ),
        // The other table may change: the checks then look at it as it is.
        (delete("ALTER TABLE c ALTER k TYPE bigint"), referenced.to_owned()),
        (delete("ALTER TABLE c ALTER k TYPE bigint; DELETE FROM c WHERE r = 1"), String::new()),
        (left.clone(), "2|2".to_owned()),
        ("BEGIN; DELETE FROM p; DROP TABLE c; COMMIT".to_owned(), String::new()),
        ("SELECT count(*) FROM p".to_owned(), "0".to_owned()),
    ];
    with_node(async |node| {
        let mut client = node.client();
        assert_eq!(client.run(setup).await, "");
        for (sql, answer) in cases {
            assert_eq!(client.run(&sql).await, answer, "{sql}");
            client.run("ROLLBACK").await;
        }
    });
}

fn duplicate() -> String {
    "ERROR 23505: duplicate key value violates unique constraint \"c_pkey\"".to_owned()
}

#[test]
fn constraints_that_old_rows_may_violate() {
    let violated = "ERROR 23514: new row for relation \"t\" violates check constraint \"small\"";
    let valid = "SELECT conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conrelid = 't'::regclass AND contype <> 'p' ORDER BY 1";
    let setup = "CREATE TABLE p (id int PRIMARY KEY);
        CREATE TABLE t (id int PRIMARY KEY, n int, r int);
        INSERT INTO t VALUES (1, 5, 1)";
    let cases = [
        ("ALTER TABLE t ADD CONSTRAINT small CHECK (n < 3) NOT VALID", ""),
        ("ALTER TABLE t ADD CONSTRAINT ref FOREIGN KEY (r) REFERENCES p NOT VALID", ""),
        (valid, "ref|f|FOREIGN KEY (r) REFERENCES p(id) NOT VALID\nsmall|f|CHECK ((n < 3)) NOT VALID"),
        ("INSERT INTO t VALUES (2, 4)", violated),
        ("UPDATE t SET n = n + 1", violated),
        ("INSERT INTO t VALUES (2, 2)", ""),
        (
            "ALTER TABLE t VALIDATE CONSTRAINT small",
            "ERROR 23514: check constraint \"small\" of relation \"t\" is violated by some row",
        ),
        // Writing the rows again does not check what is not valid.
        ("ALTER TABLE t ALTER n TYPE bigint", ""),
        ("UPDATE t SET n = 1; ALTER TABLE t VALIDATE CONSTRAINT small", ""),
        ("INSERT INTO p VALUES (1); ALTER TABLE t VALIDATE CONSTRAINT ref", ""),
        ("ALTER TABLE t VALIDATE CONSTRAINT ref", ""),
        (valid, "ref|t|FOREIGN KEY (r) REFERENCES p(id)\nsmall|t|CHECK ((n < 3))"),
        (
            "ALTER TABLE t VALIDATE CONSTRAINT none_such",
            "ERROR 42704: constraint \"none_such\" of relation \"t\" does not exist",
        ),
        (
            "ALTER TABLE t VALIDATE CONSTRAINT t_pkey",
            "ERROR 42809: constraint \"t_pkey\" of relation \"t\" is not a foreign key or check constraint",
        ),
        (
            "ALTER TABLE t ADD CONSTRAINT one UNIQUE (n) NOT VALID",
            "ERROR 0A000: UNIQUE constraints cannot be marked NOT VALID",
        ),
    ];
    check(setup, &cases);
}

#[test]
fn an_index_that_foreign_keys_need_stays() {
    check(
        "CREATE TABLE p (id int PRIMARY KEY, u int); CREATE UNIQUE INDEX p_u ON p (u); CREATE INDEX p_n ON p (u);
         CREATE TABLE c (r int REFERENCES p (u)); INSERT INTO p VALUES (1, 2); INSERT INTO c VALUES (2)",
        &[
            ("DROP INDEX p_n", ""),
            (
                "DROP INDEX p_u",
                "ERROR 2BP01: cannot drop index p_u because other objects depend on it",
            ),
            ("DROP INDEX p_u CASCADE", ""),
            ("SELECT count(*) FROM pg_constraint WHERE conrelid = 'c'::regclass", "0"),
            ("DELETE FROM p; INSERT INTO c VALUES (3); SELECT count(*) FROM c", "2"),
        ],
    );
}

#[test]
fn keys_are_not_deferrable() {
    let refused = "ERROR 0A000: DEFERRABLE unique constraint is not supported";
    check(
        "CREATE TABLE t (id int)",
        &[
            ("CREATE TABLE u (v int UNIQUE DEFERRABLE INITIALLY DEFERRED)", refused),
            ("CREATE TABLE u (v int PRIMARY KEY DEFERRABLE)", refused),
            ("CREATE TABLE u (v int, UNIQUE (v) INITIALLY DEFERRED)", refused),
            ("CREATE TABLE u (v int, PRIMARY KEY (v) DEFERRABLE INITIALLY IMMEDIATE)", refused),
            ("ALTER TABLE t ADD UNIQUE (id) DEFERRABLE", refused),
            ("ALTER TABLE t ADD COLUMN v int UNIQUE DEFERRABLE", refused),
            (
                "ALTER TABLE t ADD UNIQUE (id) NOT DEFERRABLE INITIALLY DEFERRED",
                "ERROR 42601: constraint declared INITIALLY DEFERRED must be DEFERRABLE",
            ),
            ("ALTER TABLE t ADD UNIQUE (id) NOT DEFERRABLE INITIALLY IMMEDIATE", ""),
        ],
    );
}

#[test]
fn commit_ends_an_implicit_block() {
    let failed = "ERROR 22012: division by zero";
    check(
        "CREATE TABLE t (a int)",
        &[
            ("INSERT INTO t VALUES (42); COMMIT; SELECT 1 / 0", failed),
            (
                "INSERT INTO t VALUES (43); ROLLBACK; INSERT INTO t VALUES (44); COMMIT;
                 INSERT INTO t VALUES (45); SELECT 1 / 0",
                failed,
            ),
            ("COMMIT; INSERT INTO t VALUES (46)", ""),
            ("SELECT string_agg(a::text, ' ' ORDER BY a) FROM t", "42 44 46"),
        ],
    );
}

/// More bytes than a transaction buffers, in rows that come together.
#[test]
fn large_rows_are_written_in_parts() {
    with_node(async |node| {
        let mut client = node.client();
        let setup = "CREATE TABLE t (id int PRIMARY KEY, v text)";
        assert_eq!(client.run(setup).await, "");
        let insert = "INSERT INTO t SELECT i, repeat('x', 400000) FROM generate_series(1, 220) i";
        assert_eq!(client.run(insert).await, "");
        let again = "INSERT INTO t SELECT i, repeat('y', 400000) FROM generate_series(1, 220) i
            ON CONFLICT (id) DO UPDATE SET v = excluded.v";
        assert_eq!(client.run(again).await, "");
        let line = "z".repeat(400_000);
        let lines = (221..=440).map(|id| Bytes::from(format!("{id}\t{line}\n"))).collect();
        assert_eq!(client.run_with("COPY t FROM STDIN", lines).await, "");
        let sums = "SELECT left(v, 1), count(*), sum(length(v)) FROM t GROUP BY 1 ORDER BY 1";
        assert_eq!(client.run(sums).await, "y|220|88000000\nz|220|88000000");
    });
}
