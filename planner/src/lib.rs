//! basalt-planner.
