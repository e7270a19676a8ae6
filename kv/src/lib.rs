//! basalt-kv.
