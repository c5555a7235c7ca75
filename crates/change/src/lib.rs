//! One file per kind of change; executor, journal, recovery.
