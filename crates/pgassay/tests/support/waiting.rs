//! Waits for what real processes do, and holds them up by a session of its own.

use super::DATABASE;
use pgassay_testkit::Postgres;
use std::time::{Duration, Instant};

/// Waits for a condition on real processes, for at most half a minute.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A session in an open transaction until `release` is called: what it has locked or sees is waited for.
pub struct Holder {
    thread: std::thread::JoinHandle<()>,
}

impl Holder {
    /// Runs `sql`, which begins a transaction, and waits in it.
    pub fn hold(server: &Postgres, dsn: &str, sql: &str) -> Holder {
        let dsn = dsn.to_owned();
        let sql = format!("SET application_name = 'holder'; {sql}; SELECT pg_sleep(120)");
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (client, connection) =
                    tokio_postgres::connect(&dsn, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                // Ended by `release`, which terminates the session.
                let _ = client.batch_execute(&sql).await;
            });
        });
        wait_until("the open transaction", || {
            let held = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'holder' AND wait_event = 'PgSleep'";
            !server.query(DATABASE, held).unwrap().is_empty()
        });
        Holder { thread }
    }

    /// Ends it.
    pub fn release(self, server: &Postgres) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder'";
        server.execute(DATABASE, end).unwrap();
        self.thread.join().unwrap();
    }
}
