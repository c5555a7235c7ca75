//! Answers what-if questions on a shadow.

use crate::files::Files;
use pgassay_postgres::Session;
use tokio::sync::Mutex;

/// Makes indexes, one batch at a time.
#[derive(Debug)]
pub(crate) struct Maker {
    pub(crate) files: Mutex<Files>,
    pub(crate) session: Session,
}

impl Maker {
    pub(crate) fn new(files: Files, session: Session) -> Self {
        Maker { files: Mutex::new(files), session }
    }
}
