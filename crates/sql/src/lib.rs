//! Parse, normalise, fingerprint and quote SQL; the only user of the C parser.
