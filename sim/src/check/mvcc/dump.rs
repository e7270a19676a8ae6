//! All versions that a store holds.

use std::collections::BTreeMap;

use crate::check::anomaly::{Findings, Kind};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub timestamp: u64,
    /// `None` is a delete.
    pub value: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct Dump {
    /// By key, oldest first.
    versions: BTreeMap<u64, Vec<Version>>,
    /// Below it versions that were replaced may have been collected.
    complete_from: u64,
    /// Where each value of a key is.
    places: BTreeMap<(u64, u64), Vec<u64>>,
}

impl Dump {
    pub fn new(mut versions: BTreeMap<u64, Vec<Version>>, complete_from: u64) -> Self {
        let mut places: BTreeMap<(u64, u64), Vec<u64>> = BTreeMap::new();
        for (key, versions) in &mut versions {
            versions.sort_unstable();
            for version in versions {
                if let Some(value) = version.value {
                    places.entry((*key, value)).or_default().push(version.timestamp);
                }
            }
        }
        Self { versions, complete_from, places }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Version)> + '_ {
        self.versions.iter().flat_map(|(key, versions)| versions.iter().map(|version| (*key, *version)))
    }

    pub(super) fn of(&self, key: u64) -> &[Version] {
        self.versions.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The timestamps at which a value stands.
    pub(super) fn places(&self, key: u64, value: u64) -> &[u64] {
        self.places.get(&(key, value)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn has_delete(&self, key: u64, timestamp: u64) -> bool {
        let wanted = Version { timestamp, value: None };
        self.of(key).binary_search(&wanted).is_ok()
    }

    /// What a read at a timestamp finds, without the version at `own`.
    pub(super) fn newest(&self, key: u64, at: u64, own: Option<u64>) -> Option<u64> {
        let versions = self.of(key);
        let end = versions.partition_point(|version| version.timestamp <= at);
        versions[..end].iter().rev().find(|version| Some(version.timestamp) != own)?.value
    }

    pub(super) fn complete_from(&self) -> u64 {
        self.complete_from
    }

    /// Whether a read at this timestamp can be judged.
    pub(super) fn covers(&self, at: u64) -> bool {
        at >= self.complete_from
    }

    /// Whether a version at a timestamp may have been collected: a newer one took its place in time, or it is a delete.
    pub(super) fn may_lack(&self, key: u64, timestamp: u64, value: Option<u64>) -> bool {
        let replaced =
            |version: &Version| version.timestamp > timestamp && version.timestamp <= self.complete_from;
        timestamp < self.complete_from && (value.is_none() || self.of(key).iter().any(replaced))
    }

    /// No value and no timestamp is twice among the versions of a key.
    pub(super) fn judge_unique(&self, findings: &mut Findings) {
        for ((key, value), places) in &self.places {
            if places.len() > 1 {
                findings.report(Kind::Duplicate, || format!("{value} stands at {places:?} of key {key}"));
            }
        }
        for (key, versions) in &self.versions {
            for pair in versions.windows(2) {
                if pair[0].timestamp == pair[1].timestamp && pair[0].value != pair[1].value {
                    findings.report(Kind::Duplicate, || {
                        format!("two versions of key {key}: {:?} and {:?}", pair[0], pair[1])
                    });
                }
            }
        }
    }
}
