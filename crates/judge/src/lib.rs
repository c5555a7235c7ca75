//! Statistics of comparison: intervals, tests, verdicts; pure.
