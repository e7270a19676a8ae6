//! Scalar expressions as DataFusion's.
//!
//! Comparisons, integer and numeric arithmetic and logic have native forms that agree with PostgreSQL to the last bit;
//! everything else is evaluated by the row executor's evaluator, value by value ([`rowwise`]).

pub mod decimal;
pub mod key;
pub mod logic;
pub mod native;
pub mod rowwise;
pub mod translator;

pub use translator::{Refusal, Translated, Translator};
