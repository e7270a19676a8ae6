//! Schemas that one node drops while another makes something in them.

use std::time::Duration;

use basalt_base::Timestamp;
use basalt_sql::catalog::{CatalogStore, store::NameKind};
use basalt_txn::TxnConfig;
use basalt_types::Oid;
use futures::future::join;

use crate::{
    harness::Client,
    world::{World, with_world},
};

const MISSING: &str = "ERROR 3F000: schema \"s\" does not exist";
const IN_USE: &str = "ERROR 2BP01: cannot drop schema s because other objects depend on it";

/// Runs `first` in a block that is committed a second later, and `second` meanwhile: what came of the two.
async fn one_in_the_other(
    world: &World,
    (one, first): (&mut Client, &str),
    (other, second): (&mut Client, &str),
) -> (String, String) {
    assert_eq!(one.run(&format!("BEGIN; {first}")).await, "", "{first}");
    let end = async {
        world.sleep(Duration::from_secs(1)).await;
        one.run("COMMIT").await
    };
    join(end, other.run(second)).await
}

#[test]
fn nothing_is_made_in_a_schema_that_is_dropped() {
    with_world(60, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b) = (a.client(), b.client());
        let makes = [
            "CREATE TABLE s.made (id int PRIMARY KEY)",
            "CREATE SEQUENCE s.made",
            "CREATE VIEW s.made AS SELECT 1 AS n",
            "ALTER TABLE made SET SCHEMA s",
        ];
        for make in makes {
            let drop = "DROP SCHEMA s";
            let set_up = "DROP TABLE IF EXISTS made; CREATE TABLE made (id int); CREATE SCHEMA s";
            assert_eq!(on_a.run(set_up).await, "", "{make}");
            let came = one_in_the_other(&world, (&mut on_a, drop), (&mut on_b, make)).await;
            assert_eq!(came, (String::new(), MISSING.to_owned()), "{make}");
            assert_eq!(on_a.run("CREATE SCHEMA s").await, "", "{make}");
            let came = one_in_the_other(&world, (&mut on_a, make), (&mut on_b, drop)).await;
            assert_eq!(came, (String::new(), IN_USE.to_owned()), "{make}");
            assert_eq!(on_b.run("DROP SCHEMA s CASCADE").await, "", "{make}");
            let left =
                "SELECT count(*) FROM pg_class WHERE relnamespace NOT IN (SELECT oid FROM pg_namespace)";
            assert_eq!(on_a.run(left).await, "0", "{make}");
        }
    });
}

#[test]
fn dropping_with_all_that_is_in_it_drops_what_was_made_meanwhile() {
    with_world(61, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b) = (a.client(), b.client());
        assert_eq!(on_a.run("CREATE SCHEMA s; CREATE TABLE s.old (id int)").await, "");
        let make = (&mut on_a, "CREATE TABLE s.new (id int)");
        let came = one_in_the_other(&world, make, (&mut on_b, "DROP SCHEMA s CASCADE")).await;
        assert_eq!(came, (String::new(), String::new()));
        for table in ["new", "old"] {
            let read = on_a.run(&format!("SELECT * FROM s.{table}")).await;
            assert!(read.starts_with("ERROR 42P01") || read.starts_with("ERROR 3F000"), "{read}");
        }
        assert_eq!(on_a.run("CREATE SCHEMA s; CREATE TABLE s.new (n int)").await, "");
    });
}

#[test]
fn a_name_is_removed_by_whom_it_names() {
    with_world(62, async |world| {
        let a = world.join(1).await;
        let catalog: &CatalogStore = &a.node.services.catalog;
        let begin = || catalog.client().begin(TxnConfig::default()).expect("a transaction begins");
        let (parent, name) = (Oid(40_000), "x");
        let insert = begin();
        catalog
            .insert_name(&insert, parent, NameKind::Relation, name, Oid(40_001))
            .await
            .expect("it is free");
        assert!(insert.commit().await.expect("nobody is in the way") > Timestamp::ZERO);
        for (id, is_free) in [(Oid(40_002), false), (Oid(40_001), true)] {
            let remove = begin();
            catalog.remove_name(&remove, parent, NameKind::Relation, name, id).await.expect("it can be read");
            remove.commit().await.expect("nobody is in the way");
            let insert = begin();
            let taken = catalog.insert_name(&insert, parent, NameKind::Relation, name, Oid(40_003)).await;
            assert_eq!(taken.is_ok(), is_free, "{id:?}");
            insert.rollback().await;
        }
    });
}
