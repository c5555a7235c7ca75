//! Capture, parameter sampling and workload files.
