//! basalt-sqllogictest.
