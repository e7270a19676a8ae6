//! Faults on a real cluster: processes, sockets and disks of this machine, judged from outside.

pub mod attempt;
pub mod campaign;
pub mod failure;
pub mod figures;
pub mod links;
pub mod member;
pub mod nemesis;
mod owner;
pub mod real;
pub mod recorder;
pub mod run;
pub mod session;
pub mod status;
pub mod switch;
pub mod workload;
