//! The last words of a node that stops.
//!
//! Who has called a process that ends can not know whether his call was executed, and of a commit he has to tell his client
//! so. Therefore a node that stops says it to the others first: they call it no more and look elsewhere. It refuses what was
//! on its way meanwhile, which tells the callers that nothing was executed, and finishes what it has begun.

use std::time::Duration;

use futures::future::join_all;

use super::Store;
use crate::routing::PeerRequest;

/// For the others to hear of it. Those that are up answer at once.
const HEARD_PATIENCE: Duration = Duration::from_millis(500);
/// For the calls that have begun. Where the lease is gone nothing waits for long.
const CALLS_PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

impl Store {
    /// Ends what other nodes want of this one, so that none of them has to guess.
    pub(super) async fn say_goodbye(&self) {
        self.peers.refuse_calls();
        let request = PeerRequest::Leaves { incarnation: self.peers.incarnation() }.encode();
        let others = self.other_members();
        let told = others.iter().map(|node| self.peers.call(*node, request.clone()));
        tokio::select! {
            biased;
            // An answer comes behind every call that was sent before it. Who refuses stops as well.
            _ = join_all(told) => {}
            () = self.env.spawner.sleep(HEARD_PATIENCE) => {}
        }
        let begun = self.env.clock.monotonic();
        while self.peers.calls_open().1 > 0
            && self.env.clock.monotonic().saturating_sub(begun) < CALLS_PATIENCE
        {
            self.env.spawner.sleep(PAUSE).await;
        }
    }
}
