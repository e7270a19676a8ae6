//! basalt-txn.
