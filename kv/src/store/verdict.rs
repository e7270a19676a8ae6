//! What the outcomes of its parts say of a commit over several ranges.
//!
//! The parts are one batch of the log, so all are applied or none. Should they differ all the same, the answer may not
//! claim more than is known: a commit of which a part was applied, or may be, is neither done nor undone, and whoever
//! evaluated it again, or called it failed, would invite the client to do it twice.

use basalt_kv_api::{Error, Result};
use basalt_raft::Error as Raft;

use super::proposal::{Proposed, raft_error};
use crate::replica::Rejection;

/// What became of one part: applied, rejected when it was to be applied, or not known to be committed.
pub(super) type Part = Result<Option<Rejection>, Raft>;

pub(super) fn verdict(parts: &[Part]) -> Result<Proposed> {
    if parts.iter().all(|part| matches!(part, Ok(None))) {
        return Ok(Proposed::Applied);
    }
    if parts.iter().any(|part| matches!(part, Ok(Some(_)))) {
        tracing::error!(?parts, "a part of a commit was rejected");
    }
    let unknown = parts.iter().find_map(|part| match part {
        Ok(None) => Some("a part of the commit had no effect".to_owned()),
        Err(Raft::Ambiguous(reason)) => Some(reason.clone()),
        _ => None,
    });
    if let Some(reason) = unknown {
        return Err(Error::Ambiguous { reason });
    }
    // None has an effect or ever will. Rejected, or another command took its place: evaluate again. Refused: say so.
    let refusals =
        || parts.iter().filter_map(|part| part.as_ref().err()).filter(|error| **error != Raft::Dropped);
    let redirects =
        |error: &Raft| matches!(error, Raft::NotLeader { .. } | Raft::RangeNotFound(_) | Raft::Invalid(_));
    match refusals().next() {
        None => Ok(Proposed::Again),
        // The coordinator can take the longer way.
        Some(_) if refusals().all(redirects) => Err(Error::RangeMismatch),
        Some(error) => Err(raft_error(error.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_claims_no_more_than_is_known() {
        let applied = || Ok(None);
        let rejected = || Ok(Some(Rejection::Generation));
        let dropped = || Err(Raft::Dropped);
        let unknown = || Err(Raft::Ambiguous("the store loop ended".to_owned()));
        let moved = || Err(Raft::NotLeader { leader: None });
        let full = || Err(Raft::DiskFull);
        let cases: [(Vec<Part>, &str); 16] = [
            (vec![applied(), applied()], "applied"),
            (vec![rejected(), rejected()], "again"),
            (vec![dropped(), dropped()], "again"),
            (vec![rejected(), dropped()], "again"),
            (vec![applied(), rejected()], "ambiguous"),
            (vec![rejected(), applied()], "ambiguous"),
            (vec![applied(), dropped()], "ambiguous"),
            (vec![dropped(), applied()], "ambiguous"),
            (vec![applied(), full()], "ambiguous"),
            (vec![dropped(), unknown()], "ambiguous"),
            (vec![unknown(), dropped()], "ambiguous"),
            (vec![moved(), unknown()], "ambiguous"),
            (vec![rejected(), unknown()], "ambiguous"),
            (vec![moved(), moved()], "longer way"),
            (vec![full(), full()], "disk full"),
            (vec![dropped(), full()], "disk full"),
        ];
        for (parts, expected) in cases {
            let found = match verdict(&parts) {
                Ok(Proposed::Applied) => "applied",
                Ok(Proposed::Again) => "again",
                Err(Error::Ambiguous { .. }) => "ambiguous",
                Err(Error::RangeMismatch) => "longer way",
                Err(Error::DiskFull) => "disk full",
                Err(error) => panic!("{error} of {parts:?}"),
            };
            assert_eq!(found, expected, "{parts:?}");
        }
    }
}
