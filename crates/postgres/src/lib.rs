//! Connections, catalog and statistics collectors, what-if engines.
