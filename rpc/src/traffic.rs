//! What a wire counts.

use std::sync::atomic::{AtomicI64, Ordering};

/// Of one class, since the wire was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassCounts {
    /// Handed to the operating system.
    pub messages_sent: i64,
    /// With frames around them.
    pub bytes_sent: i64,
    pub frames_sent: i64,
    pub messages_received: i64,
    pub bytes_received: i64,
    /// There was no room for them, or nobody knew the node.
    pub messages_refused: i64,
    /// They waited for a node that could not be reached, or were being sent when a connection broke.
    pub messages_dropped: i64,
    /// That this node opened.
    pub connections: i64,
}

macro_rules! counters {
    ($($field:ident),* $(,)?) => {
        #[derive(Default)]
        pub(crate) struct Traffic {
            $(pub(crate) $field: Counter,)*
        }

        impl Traffic {
            pub(crate) fn counts(&self) -> ClassCounts {
                ClassCounts { $($field: self.$field.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters!(
    messages_sent,
    bytes_sent,
    frames_sent,
    messages_received,
    bytes_received,
    messages_refused,
    messages_dropped,
    connections,
);

#[derive(Default)]
pub(crate) struct Counter(AtomicI64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}
