//! Connection strings read as libpq reads them.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
