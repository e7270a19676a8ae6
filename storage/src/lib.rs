//! basalt-storage.
