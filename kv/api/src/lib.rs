//! basalt-kv-api.
