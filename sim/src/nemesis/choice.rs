//! The names of faults, by which a run can be kept to some of them.

use std::fmt;

/// A kind of fault that comes and goes during a run. What the seed draws besides (delays and losses of messages, slow and
/// stalled syncs, low limits) are the conditions of the run, and stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NemesisKind {
    Crash,
    Split,
    DiskFull,
    ClockJump,
    ClockSet,
    LeaseTransfer,
    Partition,
    Drain,
    Decommission,
    Join,
    Outage,
    Freeze,
    RestartAll,
    Loss,
    SyncError,
    MisplacedWrite,
}

impl NemesisKind {
    pub const ALL: [Self; 16] = [
        Self::Crash,
        Self::Split,
        Self::DiskFull,
        Self::ClockJump,
        Self::ClockSet,
        Self::LeaseTransfer,
        Self::Partition,
        Self::Drain,
        Self::Decommission,
        Self::Join,
        Self::Outage,
        Self::Freeze,
        Self::RestartAll,
        Self::Loss,
        Self::SyncError,
        Self::MisplacedWrite,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Split => "split",
            Self::DiskFull => "disk-full",
            Self::ClockJump => "clock-jump",
            Self::ClockSet => "clock-set",
            Self::LeaseTransfer => "lease-transfer",
            Self::Partition => "partition",
            Self::Drain => "drain",
            Self::Decommission => "decommission",
            Self::Join => "join",
            Self::Outage => "outage",
            Self::Freeze => "freeze",
            Self::RestartAll => "restart-all",
            Self::Loss => "loss",
            Self::SyncError => "sync-error",
            Self::MisplacedWrite => "misplaced-write",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for NemesisKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
