//! basalt-raft.
