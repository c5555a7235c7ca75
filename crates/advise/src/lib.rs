//! Findings and proposals from observed facts; pure.
