//! Tests of the whole path from text to plan over a catalog in memory.

mod bind;
mod catalog;
mod parse;
mod precedence;
mod shapes;
