//! Faults on a real cluster: processes, sockets and disks of this machine, judged from outside.

pub mod links;
pub mod member;
mod owner;
pub mod real;
pub mod status;
pub mod switch;
