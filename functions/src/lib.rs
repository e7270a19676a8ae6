//! basalt-functions.
