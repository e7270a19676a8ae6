//! basalt-storage-rocks.
