//! basalt-pgwire.
