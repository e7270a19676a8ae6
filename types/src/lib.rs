//! basalt-types.
