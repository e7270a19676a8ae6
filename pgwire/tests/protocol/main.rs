//! The protocol from outside: a real driver, raw bytes and counting streams against a backend made for it.

mod driver;
mod fake_backend;
mod flow;
mod garbage;
mod malformed;
mod raw_client;
mod recovery;
mod running_server;
mod session_end;
