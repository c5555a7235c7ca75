//! One server for all tests of a test binary, each test in a database of its own.

use crate::{Postgres, PostgresOptions};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

static SERVER: OnceLock<Postgres> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(1);
static CREATING: Mutex<()> = Mutex::new(());

/// The server of this test binary, with pg_stat_statements; started at the first call.
///
/// A process that ends does not drop statics: a watcher left behind stops the server and removes it.
///
/// # Panics
/// When there is no PostgreSQL or it does not start: a test can't go on without it.
#[allow(clippy::panic, reason = "for tests, which end here")]
pub fn shared() -> &'static Postgres {
    SERVER.get_or_init(|| {
        let options = PostgresOptions {
            settings: vec![
                ("shared_preload_libraries".into(), "'pg_stat_statements'".into()),
                ("max_connections".into(), "200".into()),
            ],
            stop_with_process: true,
            ..PostgresOptions::default()
        };
        match Postgres::start(options) {
            Ok(server) => server,
            Err(error) => panic!("the shared PostgreSQL did not start: {error}"),
        }
    })
}

/// Creates an empty database and returns its name.
///
/// # Panics
/// When the server refuses.
#[allow(clippy::panic, reason = "for tests, which end here")]
pub fn fresh_database(server: &Postgres) -> String {
    let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    let _guard = CREATING.lock();
    if let Err(error) =
        server.execute("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"))
    {
        panic!("{error}");
    }
    name
}
