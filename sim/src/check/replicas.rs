//! Replicas of one range hold the same.

use super::survey::{Copy, Survey};
use crate::workload::Context;

/// What still differs between the replicas of healed nodes that nobody uses; `None` if nothing does.
pub fn differ(context: &Context) -> Option<String> {
    match Survey::take(&context.cluster).and_then(Survey::complete) {
        Err(problem) => Some(problem),
        Ok(survey) => difference(context, &survey).unwrap_or_else(|error| Some(error.to_string())),
    }
}

fn difference(context: &Context, survey: &Survey) -> basalt_storage::Result<Option<String>> {
    for (range, copies) in &survey.copies {
        let Some(newest) = copies.iter().max_by_key(|copy| copy.place()) else { continue };
        let (generation, index) = newest.place();
        // One that was removed elsewhere goes when it has heard of it.
        let is_member = |copy: &&Copy| {
            copy.place().0 == generation && copy.replica.membership().contains(copy.replica.replica_id)
        };
        let members: Vec<&Copy> = copies.iter().filter(is_member).collect();
        if let Some(other) = members.iter().find(|copy| copy.place().1 != index) {
            return Ok(Some(format!(
                "range {range} is at {index} on node {} and at {} on node {}",
                newest.node,
                other.place().1,
                other.node
            )));
        }
        let hash = newest.hash()?;
        for other in members {
            if other.hash()? != hash {
                let message = format!(
                    "range {range} holds different things at index {index} on nodes {} and {}",
                    newest.node, other.node
                );
                // It will not get better.
                context.violations.report(message);
                return Ok(None);
            }
        }
    }
    Ok(None)
}
