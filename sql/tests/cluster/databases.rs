//! Databases that one node drops while clients of others use them, or want to.

use std::{sync::Arc, time::Duration};

use basalt_sql::{NeverCancel, Signal};
use futures::future::{join, join3};

use crate::{
    harness::{Client, Text},
    neighbours::Flag,
    world::{FENCED_AFTER, Member, World, with_world},
};

const IN_USE: &str = "55006: database \"x\" is being accessed by other users";
const MISSING: &str = "3D000: database \"x\" does not exist";

async fn enters(member: &Member, pid: i32) -> Result<Client, String> {
    let opened = member.open("x", pid, Arc::new(NeverCancel)).await;
    opened.map_err(|error| format!("{}: {}", error.sqlstate(), error.message()))
}

/// Drops the database x: the error with its detail, if there is one.
async fn drops(client: &mut Client) -> Result<(), String> {
    let dropped = client.session.simple_query("DROP DATABASE x", &mut Text::default()).await;
    dropped.map_err(|error| {
        let detail = error.fields().detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        format!("{}: {}{detail}", error.sqlstate(), error.message())
    })
}

async fn after(world: &World, seconds: u64) {
    world.sleep(Duration::from_secs(seconds)).await;
}

#[test]
fn a_database_is_not_dropped_under_sessions_of_any_node() {
    with_world(70, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let mut on_a = a.client();
        assert_eq!(on_a.run("CREATE DATABASE x").await, "");
        let first = enters(&b, 2 << 20 | 1).await.expect("the database is there");
        let (dropped, took) = world.timed(drops(&mut on_a)).await;
        assert_eq!(dropped, Err(format!("{IN_USE} (There is 1 other session using the database.)")));
        assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(6), "{took:?}");
        // What failed keeps nobody out.
        let second = enters(&a, 1 << 20 | 1).await.expect("the database is there");
        let dropped = drops(&mut on_a).await;
        assert_eq!(dropped, Err(format!("{IN_USE} (There are 2 other sessions using the database.)")));
        let leave = async {
            after(&world, 1).await;
            drop(second);
            after(&world, 1).await;
            drop(first);
        };
        let ((dropped, took), ()) = join(world.timed(drops(&mut on_a)), leave).await;
        assert_eq!(dropped, Ok(()));
        assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(3), "{took:?}");
        assert_eq!(enters(&b, 2 << 20 | 2).await.err(), Some(MISSING.to_owned()));
    });
}

#[test]
fn who_connects_meanwhile_waits_for_what_becomes_of_it() {
    with_world(71, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let mut on_a = a.client();
        assert_eq!(on_a.run("CREATE DATABASE x").await, "");
        let user = enters(&b, 2 << 20 | 1).await.expect("the database is there");
        let enter = async |member: &Member, pid| {
            after(&world, 1).await;
            world.timed(enters(member, pid)).await
        };
        let all = join3(drops(&mut on_a), enter(&a, 1 << 20 | 2), enter(&b, 2 << 20 | 2));
        let (dropped, (local, waited), (remote, waited_there)) = all.await;
        assert!(dropped.is_err_and(|error| error.starts_with(IN_USE)));
        assert!(local.is_ok() && remote.is_ok(), "it is still there");
        assert!(waited > Duration::from_secs(3) && waited_there > Duration::from_secs(3));
        drop((local, remote));
        let leave = async {
            after(&world, 2).await;
            drop(user);
        };
        let all = join(join3(drops(&mut on_a), enter(&a, 1 << 20 | 3), enter(&b, 2 << 20 | 3)), leave);
        let ((dropped, (local, waited), (remote, waited_there)), ()) = all.await;
        assert_eq!(dropped, Ok(()));
        assert_eq!((local.err(), remote.err()), (Some(MISSING.to_owned()), Some(MISSING.to_owned())));
        assert!(waited > Duration::from_millis(900) && waited_there > Duration::from_millis(900));
    });
}

#[test]
fn of_two_who_drop_it_one_finds_it_gone() {
    for seed in 72..76 {
        with_world(seed, async |world| {
            let (a, b) = (world.join(1).await, world.join(2).await);
            let (mut on_a, mut on_b, mut too) = (a.client(), b.client(), b.client());
            assert_eq!(on_a.run("CREATE DATABASE x").await, "");
            let (one, two, three) = join3(drops(&mut on_a), drops(&mut on_b), drops(&mut too)).await;
            let all = [one, two, three];
            assert_eq!(all.iter().filter(|dropped| dropped.is_ok()).count(), 1, "{all:?}");
            assert!(all.iter().flat_map(|dropped| dropped.as_ref().err()).all(|error| error == MISSING));
            assert_eq!(on_a.run("DROP DATABASE IF EXISTS x; CREATE DATABASE x").await, "");
            let (one, two) =
                join(on_a.run("DROP DATABASE IF EXISTS x"), on_b.run("DROP DATABASE IF EXISTS x")).await;
            assert_eq!((one, two), (String::new(), String::new()));
        });
    }
}

#[test]
fn a_node_that_dies_while_it_drops_leaves_the_database_open() {
    with_world(76, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let mut on_b = b.client();
        assert_eq!(on_b.run("CREATE DATABASE x").await, "");
        let user = enters(&b, 2 << 20 | 1).await.expect("the database is there");
        let mut on_a = a.client();
        let dies = async {
            tokio::select! {
                biased;
                dropped = drops(&mut on_a) => panic!("{dropped:?}"),
                () = after(&world, 1) => a.link.kill(),
            }
            world.timed(enters(&b, 2 << 20 | 2)).await
        };
        let (opened, waited) = dies.await;
        assert!(opened.is_ok());
        assert!(waited < FENCED_AFTER + Duration::from_secs(4), "{waited:?}");
        drop((opened, user));
        assert_eq!(drops(&mut on_b).await, Ok(()));
    });
}

#[test]
fn sessions_of_a_node_that_was_cut_off_do_not_outlive_the_database() {
    with_world(77, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let mut on_a = a.client();
        assert_eq!(on_a.run("CREATE DATABASE x").await, "");
        let (user, other) = (Arc::new(Flag::default()), Arc::new(Flag::default()));
        let in_x = b.open("x", 2 << 20 | 1, user.clone()).await.expect("the database is there");
        let elsewhere = b.open("postgres", 2 << 20 | 2, other.clone()).await.expect("so is this");
        b.link.cut(true);
        let (dropped, took) = world.timed(drops(&mut on_a)).await;
        assert_eq!(dropped, Ok(()));
        assert!(took > Duration::from_secs(5) && took < FENCED_AFTER + Duration::from_secs(4), "{took:?}");
        assert_eq!(user.signal(), None, "nobody can tell it yet");
        b.link.cut(false);
        after(&world, 5).await;
        assert_eq!(user.signal(), Some(Signal::Terminate));
        assert_eq!(other.signal(), None);
        drop((in_x, elsewhere));
        assert_eq!(enters(&b, 2 << 20 | 3).await.err(), Some(MISSING.to_owned()));
    });
}

#[test]
fn a_node_alone_drops_no_database_that_is_used() {
    with_world(78, async |world| {
        let a = world.join(1).await;
        let mut on_a = a.client();
        assert_eq!(on_a.run("CREATE DATABASE x").await, "");
        let user = enters(&a, 1 << 20 | 1).await.expect("the database is there");
        assert!(drops(&mut on_a).await.is_err_and(|error| error.starts_with(IN_USE)));
        let enter = async {
            after(&world, 1).await;
            world.timed(enters(&a, 1 << 20 | 2)).await
        };
        let leave = async {
            after(&world, 3).await;
            drop(user);
        };
        let (dropped, (entered, waited), ()) = join3(drops(&mut on_a), enter, leave).await;
        assert_eq!(dropped, Ok(()));
        assert_eq!(entered.err(), Some(MISSING.to_owned()));
        assert!(waited > Duration::from_secs(1), "{waited:?}");
    });
}
