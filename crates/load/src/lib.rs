//! Drives a workload and measures where the time goes.
