//! basalt-sql-analytic.
