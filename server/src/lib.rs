//! basalt-server.
