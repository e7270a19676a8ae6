//! Commits whose answers come late, or never, or to nobody.

use std::time::Duration;

use basalt_base::Timestamp;
use basalt_sql::catalog::Descriptor;
use futures::future::join;

use crate::world::{Commit, Fate, Member, with_world};

const SECOND: Duration = Duration::from_secs(1);

fn descriptor(member: &Member, table: &str) -> (Descriptor, Timestamp) {
    let catalog = &member.node.services.catalog;
    let snapshot = catalog.current();
    let table = snapshot.tables.values().find(|known| known.name == table).expect("the table is there");
    (Descriptor::Table(table.clone()), catalog.changed_at(table.id))
}

#[test]
fn an_answer_that_comes_late_brings_nothing_back() {
    with_world(50, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b) = (a.client(), b.client());
        a.link.disturb(Commit::OfSchema, Fate { answers: SECOND, ..Fate::default() });
        let change = async {
            world.sleep(Duration::from_millis(300)).await;
            on_b.run("ALTER TABLE t ADD n int DEFAULT 7").await
        };
        let done = join(on_a.run("CREATE TABLE t (id int PRIMARY KEY)"), change).await;
        assert_eq!(done, (String::new(), String::new()));
        assert_eq!(on_a.run("INSERT INTO t VALUES (1); SELECT * FROM t").await, "1|7");
    });
}

#[test]
fn what_was_published_gives_way_to_nothing_older() {
    with_world(51, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        assert_eq!(a.client().run("CREATE TABLE t (id int PRIMARY KEY)").await, "");
        for changes in [&a, &b] {
            let (old, at) = descriptor(&a, "t");
            assert_eq!(
                changes.client().run("ALTER TABLE t ADD COLUMN n int; ALTER TABLE t DROP n").await,
                ""
            );
            let (new, since) = descriptor(&a, "t");
            assert!(since > at);
            a.node.services.catalog.publish(&[(old.id(), Some(old))], at);
            let (now, still_since) = descriptor(&a, "t");
            assert_eq!(still_since, since);
            let (Descriptor::Table(now), Descriptor::Table(new)) = (now, new) else { panic!("no tables") };
            assert_eq!(now.version, new.version);
        }
    });
}
