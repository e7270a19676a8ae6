//! basalt-sim.
