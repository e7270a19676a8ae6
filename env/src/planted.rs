//! Deliberate bugs.
//!
//! A checker that has never found anything proves nothing. Each of these switches breaks a rule that the design depends
//! on; the simulator turns one on and must find a violation within a bounded number of seeds. Without the feature
//! `planted` every query is a constant `false` and the broken branch is compiled out.

/// A rule that can be broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The log claims to be durable before its sync has run.
    AckBeforeSync,
    /// A restarted store's clock begins below readings that its predecessor has given out.
    ForgetClockBound,
    /// The right side of a split starts without the left side's timestamp cache.
    ForgetReadsOnSplit,
    /// A split leaves the locks of its right side behind.
    LoseLockOnSplit,
    /// Resolving a committed transaction drops the value of one lock in a hundred.
    LoseResolvedValue,
    /// A refresh says yes without looking.
    RefreshBlindly,
    /// Reads below a provisional value do not wait for its transaction.
    IgnoreLocks,
    /// The log is truncated up to what is applied, not up to what is flushed.
    TruncatePastFlushed,
    /// A commit whose outcome is unknown is sent again.
    RetryUnknownCommit,
    /// Commands that must take effect together reach the log one turn apart.
    DivideTogether,
    /// A new lease does not tell writers that its predecessor has served reads.
    SkipLowWater,
    /// A restarted process goes on with the lease of its predecessor.
    ReuseLease,
    /// What other nodes have written a little later than a read counts as certainly later.
    TrustEveryClock,
    /// A clock whose bound is not renewed lags without limit.
    IgnoreClockLag,
    /// A restarted node does not wait for what its predecessor may have read from the clock.
    SkipClockWait,
    /// A write is answered when it is proposed, not when it is applied.
    AckBeforeMajority,
    /// Term and vote are not durable: a restarted voter may vote again in the same term.
    ForgetVote,
    /// A commit whose answer was lost on the way is sent again.
    RetryLostCommit,
    /// A snapshot of a range leaves its locks out.
    SnapshotWithoutLocks,
    /// A replica that was removed comes back under its old number.
    IgnoreTombstone,
    /// A command is applied whatever has become of its range by then.
    IgnoreGeneration,
    /// A staged commit is acknowledged whatever its writes say.
    AckBeforeProof,
    /// Who finds a write of a staged commit missing does not prevent it.
    SkipPrevention,
    /// A write of a staged commit counts as done wherever and in whichever epoch it is.
    RecoverMovedWrites,
    /// A node whose clock was set goes on as if nothing had happened.
    IgnoreClockStep,
    /// A lease is taken before the one in force has ended.
    TakeLeaseEarly,
    /// Writes take effect where their range was closed to them.
    WriteBelowClosed,
    /// A replica answers reads above its closed timestamp.
    ReadAboveClosed,
    /// A replica passes over the locks that it meets, whatever became of their transactions.
    FollowPastLocks,
    /// A lease is used until its last moment, as if all clocks showed the same.
    IgnoreStasis,
    /// A lease that is being given away is used until it is gone.
    UseGivenLease,
    /// What a node's clock showed counts for values that another node wrote before it got the lease, too.
    ObserveMovedLease,
    /// Who is given a lease does not take note of the reads that it is told of.
    ForgetToldReads,
    /// Nobody looks for locks that nobody meets.
    LeaveStrayLocks,
}

impl Bug {
    pub const ALL: [Self; 34] = [
        Self::AckBeforeSync,
        Self::ForgetClockBound,
        Self::ForgetReadsOnSplit,
        Self::LoseLockOnSplit,
        Self::LoseResolvedValue,
        Self::RefreshBlindly,
        Self::IgnoreLocks,
        Self::TruncatePastFlushed,
        Self::RetryUnknownCommit,
        Self::DivideTogether,
        Self::SkipLowWater,
        Self::ReuseLease,
        Self::TrustEveryClock,
        Self::IgnoreClockLag,
        Self::SkipClockWait,
        Self::AckBeforeMajority,
        Self::ForgetVote,
        Self::RetryLostCommit,
        Self::SnapshotWithoutLocks,
        Self::IgnoreTombstone,
        Self::IgnoreGeneration,
        Self::AckBeforeProof,
        Self::SkipPrevention,
        Self::RecoverMovedWrites,
        Self::IgnoreClockStep,
        Self::TakeLeaseEarly,
        Self::WriteBelowClosed,
        Self::ReadAboveClosed,
        Self::FollowPastLocks,
        Self::IgnoreStasis,
        Self::UseGivenLease,
        Self::ObserveMovedLease,
        Self::ForgetToldReads,
        Self::LeaveStrayLocks,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::AckBeforeSync => "ack-before-sync",
            Self::ForgetClockBound => "forget-clock-bound",
            Self::ForgetReadsOnSplit => "forget-reads-on-split",
            Self::LoseLockOnSplit => "lose-lock-on-split",
            Self::LoseResolvedValue => "lose-resolved-value",
            Self::RefreshBlindly => "refresh-blindly",
            Self::IgnoreLocks => "ignore-locks",
            Self::TruncatePastFlushed => "truncate-past-flushed",
            Self::RetryUnknownCommit => "retry-unknown-commit",
            Self::DivideTogether => "divide-together",
            Self::SkipLowWater => "skip-low-water",
            Self::ReuseLease => "reuse-lease",
            Self::TrustEveryClock => "trust-every-clock",
            Self::IgnoreClockLag => "ignore-clock-lag",
            Self::SkipClockWait => "skip-clock-wait",
            Self::AckBeforeMajority => "ack-before-majority",
            Self::ForgetVote => "forget-vote",
            Self::RetryLostCommit => "retry-lost-commit",
            Self::SnapshotWithoutLocks => "snapshot-without-locks",
            Self::IgnoreTombstone => "ignore-tombstone",
            Self::IgnoreGeneration => "ignore-generation",
            Self::AckBeforeProof => "ack-before-proof",
            Self::SkipPrevention => "skip-prevention",
            Self::RecoverMovedWrites => "recover-moved-writes",
            Self::IgnoreClockStep => "ignore-clock-step",
            Self::TakeLeaseEarly => "take-lease-early",
            Self::WriteBelowClosed => "write-below-closed",
            Self::ReadAboveClosed => "read-above-closed",
            Self::FollowPastLocks => "follow-past-locks",
            Self::IgnoreStasis => "ignore-stasis",
            Self::UseGivenLease => "use-given-lease",
            Self::ObserveMovedLease => "observe-moved-lease",
            Self::ForgetToldReads => "forget-told-reads",
            Self::LeaveStrayLocks => "leave-stray-locks",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == name)
    }
}

#[cfg(feature = "planted")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        // One simulation runs on one thread; simulations of other threads are none of its business.
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Switches `bug` on for this thread, and any other off.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether to break the rule.
    pub fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(not(feature = "planted"))]
mod switch {
    use super::Bug;

    /// Without the feature `planted` there is nothing to switch on.
    pub fn plant(_bug: Option<Bug>) {}

    /// Whether to break the rule: never.
    #[inline(always)]
    pub const fn planted(_bug: Bug) -> bool {
        false
    }
}

pub use switch::{plant, planted};
