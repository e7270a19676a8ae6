//! How nodes learn of each other: by telling, every second, over the connections of the Raft class.
//!
//! A node sends its own record to every other one, and all records that it knows to one of them, chosen at random, so that
//! news reaches nodes which cannot hear its source. Removals go to everybody at once. A hundred nodes send each other
//! a hundred small records a second; that is enough, and needs neither digests nor a failure detector.
//!
//! The chitchat library would do the same: but it draws from a random source of its own, and its dependencies switch on
//! features of crates that the executors are built on.

use std::sync::Arc;

use basalt_kv_api::Class;

use crate::{address_book, core::Core, options::class_index, wire::peer_of};

/// Tells the others of this node until the wire is closed. The first `saved` changes are in the book already.
pub(crate) async fn gossip(core: Arc<Core>, mut saved: u64) {
    loop {
        tell(&core);
        if core.nodes.take_outbid() {
            let node = core.identity.node_id;
            core.complaints.note(
                core.now(),
                format!(
                    "somebody else speaks as node {node}: its store runs twice, or was set back to a copy"
                ),
            );
        }
        if core.nodes.changes() != saved {
            saved = core.nodes.changes();
            core.book_changed.notify_one();
        }
        tokio::select! {
            biased;
            () = core.closed() => return,
            () = core.env.spawner.sleep(core.options.gossip_interval) => {}
        }
    }
}

fn tell(core: &Arc<Core>) {
    let others = core.nodes.others();
    let Some(last) = others.len().checked_sub(1) else {
        return;
    };
    let own = core.nodes.own_record();
    let all = core.nodes.records();
    let everybody = core.nodes.take_news();
    let chosen = core.env.rng.next_u64() as usize % (last + 1);
    for (at, node) in others.into_iter().enumerate() {
        if let Some(peer) = peer_of(core, node) {
            let records = if everybody || at == chosen { all.clone() } else { vec![own.clone()] };
            peer.outboxes[class_index(Class::Raft)].put_records(records);
        }
    }
}

/// Saves the address book when it has changed: on a thread of its own, since it waits for the disk.
pub(crate) async fn keep_book(core: Arc<Core>) {
    loop {
        tokio::select! {
            biased;
            () = core.closed() => return,
            () = core.book_changed.notified() => {}
        }
        if let Err(error) = address_book::write(&*core.env.disk, &core.book()).await {
            core.note_failure(&error);
        }
    }
}
