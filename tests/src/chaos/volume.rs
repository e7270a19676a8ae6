//! Placeholder.
use super::{Outcome, options::Options};
pub async fn run(_options: &Options) -> Outcome { Ok(()) }
