//! Window functions proper. (Aggregates over windows are run by the executor.)

mod navigation;
mod ranking;

use crate::builder::Builder;

pub fn register(builder: &mut Builder) {
    ranking::register(builder);
    navigation::register(builder);
}
