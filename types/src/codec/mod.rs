//! Stored bytes: index keys and rows.

pub mod key;
pub mod row;
