//! psql, where it is installed: what its backslash commands ask of the catalogs.

use std::process::Command;

use basalt_tests::Node;

#[tokio::test]
async fn backslash_commands_describe_what_is_there() {
    if Command::new("psql").arg("--version").output().is_err() {
        println!("psql is not installed: nothing is tested");
        return;
    }
    let node = Node::start(&[]);
    let tables = "CREATE TABLE orders (id int PRIMARY KEY, name varchar(20) NOT NULL DEFAULT 'x', CHECK (id > 0)); \
                  CREATE INDEX by_name ON orders (name, id); CREATE SCHEMA sales";
    node.connect().await.batch_execute(tables).await.unwrap();
    let cases: [(&str, &[&str]); 6] = [
        (r"\d", &["orders", "table", "postgres"]),
        (r"\dt", &["public", "orders"]),
        (r"\di", &["by_name", "orders_pkey"]),
        (r"\l", &["postgres"]),
        (r"\dn", &["public", "sales"]),
        (
            r"\d orders",
            &[
                "character varying(20)",
                "not null",
                "\"orders_pkey\" PRIMARY KEY",
                "by_name",
                "Check constraints",
            ],
        ),
    ];
    for (command, expected) in cases {
        let output = Command::new("psql")
            .args(["-X", "-v", "ON_ERROR_STOP=1", "-d", &node.url(), "-c", command])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {errors}");
        for part in expected {
            assert!(text.contains(part), "{command} does not show {part:?}:\n{text}");
        }
    }
}
