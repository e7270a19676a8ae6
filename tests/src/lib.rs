//! basalt-tests.
