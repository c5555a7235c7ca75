//! What can go wrong with a shadow, and what helps.

use pgassay_postgres::PostgresError;
use pgassay_testkit::TestkitError;
use std::path::PathBuf;

/// Why there is no shadow, or why it does not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShadowError {
    /// The source could not be read, or the shadow not asked.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// No server of the same major version on this machine.
    #[error("no PostgreSQL {major} on this machine to plan with, as the server's is")]
    NoServer {
        /// Major version of the source.
        major: u32,
    },
    /// The throw-away server does not run.
    #[error("the shadow server failed: {0}")]
    Server(#[from] TestkitError),
    /// The source is built in another way than servers here.
    #[error("the server has blocks of {0} bytes, and servers here of 8192")]
    BlockSize(u32),
    /// No database with the source's encoding and collation can be made here.
    #[error(
        "no database of encoding {encoding} and collation {collation} can be made here: {message}"
    )]
    Locale {
        /// Encoding of the source.
        encoding: String,
        /// Its collation.
        collation: String,
        /// The server's words.
        message: String,
    },
    /// A file of the shadow could not be changed.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An answer of a server is not what its version is documented to answer.
    #[error("{doing}: {message}")]
    Unexpected {
        /// What was done.
        doing: &'static str,
        /// What came.
        message: String,
    },
}

impl ShadowError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            ShadowError::Postgres(error) => error.hint(),
            ShadowError::NoServer { major } => format!(
                "install it (Debian/Ubuntu: apt install postgresql-{major}), or name its programs with --postgres-bin"
            ),
            ShadowError::Locale { collation, .. } => {
                format!("make the locale {collation} (dpkg-reconfigure locales, locale-gen)")
            }
            ShadowError::Server(_) | ShadowError::File { .. } => {
                "set TMPDIR to a directory with room that others may enter, and start again".into()
            }
            ShadowError::BlockSize(_) => "advise with --engine hypopg".into(),
            ShadowError::Unexpected { .. } => "report this with the server's version".into(),
        }
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> ShadowError {
        let path = path.into();
        move |source| ShadowError::File { path, source }
    }
}
