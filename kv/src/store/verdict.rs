//! What the outcomes of its parts say of a commit over several ranges.
//!
//! The parts are one batch of the log, so all are applied or none. Should they differ all the same, the answer may not
//! claim more than is known: a commit of which a part was applied is neither done nor undone, and whoever evaluated it
//! again, or called it failed, would invite the client to do it twice.

use basalt_kv_api::{Error, Result};

use super::proposal::Proposed;
use crate::replica::Rejection;

/// The rejection of each part, if it was rejected.
pub(super) fn verdict(parts: &[Option<Rejection>]) -> Result<Proposed> {
    if parts.iter().all(Option::is_none) {
        return Ok(Proposed::Applied);
    }
    tracing::error!(?parts, "a part of a commit was rejected");
    if parts.iter().all(Option::is_some) {
        return Ok(Proposed::Again);
    }
    Err(Error::Ambiguous { reason: "a part of the commit was rejected".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_of_which_a_part_was_applied_is_ambiguous() {
        let rejected = Some(Rejection::Generation);
        assert!(matches!(verdict(&[None, None]), Ok(Proposed::Applied)));
        assert!(matches!(verdict(&[rejected, Some(Rejection::Lease)]), Ok(Proposed::Again)));
        for parts in [[rejected, None], [None, rejected]] {
            assert!(matches!(verdict(&parts), Err(Error::Ambiguous { .. })));
        }
    }
}
