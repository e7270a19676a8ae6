//! basalt-sql.
