//! A database to change, with every kind of change planned for it, and a picture of all that may change.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use pgassay_change::{ChangeError, Executor, ExecutorOptions, Journal, JournalState, PoolerAccess};
use pgassay_model::change::{Change, PoolerEdit, PoolerSettingChange};
use pgassay_model::connection::ConnectionSettings;
use pgassay_model::extended_statistics::{StatisticsDefinition, StatisticsKind};
use pgassay_model::index::{IndexDefinition, IndexKey, RelationName};
use pgassay_model::plan::{Expected, ExpectedSource, PlannedChange, Risk, RiskLevel};
use pgassay_model::units::Bytes;
use pgassay_postgres::{Session, SessionOptions};
use pgassay_testkit::{PgBouncer, PgBouncerOptions, Postgres, fresh_database, shared};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// postgresql.auto.conf belongs to the server: tests that change it, or compare it, go one by one.
static ONE_BY_ONE: Mutex<()> = Mutex::new(());

const PASSWORD: &str = "plain-text";

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    CreateIndex,
    DropIndex,
    Analyze,
    CreateStatistics,
    Reindex,
    SetParameter,
    PoolerIni,
    PoolerUserlist,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::CreateIndex,
        Kind::DropIndex,
        Kind::Analyze,
        Kind::CreateStatistics,
        Kind::Reindex,
        Kind::SetParameter,
        Kind::PoolerIni,
        Kind::PoolerUserlist,
    ];
}

/// All that changes may touch, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub schema: Vec<Vec<Option<String>>>,
    pub auto_conf: String,
    pub work_mem: String,
    pub ini: String,
    pub userlist: String,
    pub pool_size: String,
}

/// A database of its own with a table, an index and a PgBouncer before it.
pub struct Target {
    pub server: &'static Postgres,
    pub database: String,
    pub state: tempfile::TempDir,
    pub pooler: PgBouncer,
    _turn: MutexGuard<'static, ()>,
}

impl Target {
    pub fn new() -> Self {
        Target::on(shared())
    }

    pub fn on(server: &'static Postgres) -> Self {
        let turn = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let database = fresh_database(server);
        let app = app_of(&database);
        // One by one: ALTER SYSTEM runs in no transaction block, which several statements at once are.
        for sql in [
            "CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, note text)",
            "INSERT INTO orders SELECT n, n % 100, 'note ' || n FROM generate_series(1, 3000) n",
            "CREATE INDEX orders_note ON orders (note)",
            &format!("CREATE ROLE {app} LOGIN PASSWORD '{PASSWORD}'"),
            "ALTER SYSTEM RESET ALL",
            "ALTER SYSTEM SET work_mem = '5MB'",
            "ALTER SYSTEM SET maintenance_work_mem = '48MB'",
            "ALTER SYSTEM SET log_temp_files = '10MB'",
            "SELECT pg_reload_conf()",
        ] {
            server.execute(&database, sql).unwrap();
        }
        let pooler = PgBouncer::start(PgBouncerOptions {
            settings: vec![
                ("default_pool_size".into(), "7".into()),
                (";comment".into(), "kept".into()),
            ],
            databases: vec![(
                database.clone(),
                format!("host=127.0.0.1 port={} dbname={database}", server.port()),
            )],
            users: vec![(app, PASSWORD.into())],
            ..PgBouncerOptions::default()
        })
        .unwrap();
        let target =
            Target { server, database, state: tempfile::tempdir().unwrap(), pooler, _turn: turn };
        eventually("the reload", || target.show("work_mem") == "5MB");
        target
    }

    pub fn app(&self) -> String {
        app_of(&self.database)
    }

    pub fn execute(&self, sql: &str) {
        self.server.execute(&self.database, sql).unwrap();
    }

    /// The first column of the first row.
    pub fn value(&self, sql: &str) -> Option<String> {
        self.server.query(&self.database, sql).unwrap().into_iter().flatten().next().flatten()
    }

    pub fn show(&self, name: &str) -> String {
        self.value(&format!("SHOW {name}")).unwrap()
    }

    pub fn settings(&self) -> ConnectionSettings {
        pgassay_postgres::dsn::resolve(&self.server.dsn(&self.database)).unwrap()
    }

    pub async fn session(&self) -> Session {
        read_write(&self.settings()).await
    }

    pub fn journal(&self) -> Journal {
        Journal::open(self.state.path()).unwrap()
    }

    pub fn access(&self) -> PoolerAccess {
        PoolerAccess {
            console: pgassay_postgres::dsn::resolve(&self.pooler.console_dsn()).unwrap(),
            ini: self.pooler.ini_path().to_path_buf(),
            binary: self.pooler.binary().to_path_buf(),
        }
    }

    /// Options with short waits, and PgBouncer.
    pub fn options(&self) -> ExecutorOptions<'static> {
        ExecutorOptions { pooler: Some(self.access()), ..quick() }
    }

    pub fn picture(&self) -> Picture {
        let schema = "
            SELECT 'index', n.nspname, c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid::text
            FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname NOT LIKE 'pg\\_%'
            UNION ALL
            SELECT 'relation', n.nspname, c.relname, c.relkind::text, coalesce(c.reltablespace, 0)::text
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
            UNION ALL
            SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE c.relname = 'orders' AND a.attnum > 0
            UNION ALL
            SELECT 'statistics', n.nspname, s.stxname, pg_get_statisticsobjdef(s.oid), ''
            FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
            ORDER BY 1, 2, 3, 4, 5";
        Picture {
            schema: self.server.query(&self.database, schema).unwrap(),
            auto_conf: std::fs::read_to_string(
                self.server.data_directory().join("postgresql.auto.conf"),
            )
            .unwrap(),
            work_mem: self.show("work_mem"),
            ini: std::fs::read_to_string(self.pooler.ini_path()).unwrap(),
            userlist: std::fs::read_to_string(self.pooler.userlist_path()).unwrap(),
            pool_size: self.pool_size(),
        }
    }

    /// `default_pool_size` that PgBouncer runs with.
    pub fn pool_size(&self) -> String {
        let dsn = self.pooler.console_dsn();
        on_thread(async move {
            let settings = pgassay_postgres::dsn::resolve(&dsn).unwrap();
            let console = pgassay_pgbouncer::Console::connect(&settings).await.unwrap();
            console.show_config().await.unwrap()["default_pool_size"].value.clone()
        })
    }

    /// Whether the application can log in through PgBouncer with its password.
    pub fn app_logs_in(&self) -> bool {
        let dsn = self.pooler.dsn(&self.app(), PASSWORD, &self.database);
        on_thread(async move {
            let Ok((client, connection)) =
                tokio_postgres::connect(&dsn, tokio_postgres::NoTls).await
            else {
                return false;
            };
            tokio::spawn(connection);
            client.simple_query("SELECT 1").await.is_ok()
        })
    }

    /// A change of each kind that this target takes.
    pub fn planned(&self, kind: Kind) -> PlannedChange {
        planned("c1", self.change(kind))
    }

    pub fn change(&self, kind: Kind) -> Change {
        match kind {
            Kind::CreateIndex => create_index("orders_customer", "customer"),
            Kind::DropIndex => Change::DropIndex {
                relation: orders(),
                name: "orders_note".into(),
                ddl: "CREATE INDEX orders_note ON public.orders USING btree (note)".into(),
            },
            Kind::Analyze => Change::Analyze { relation: orders() },
            Kind::CreateStatistics => Change::CreateStatistics {
                definition: StatisticsDefinition {
                    relation: orders(),
                    name: "orders_customer_note".into(),
                    kinds: vec![StatisticsKind::Dependencies, StatisticsKind::Mcv],
                    columns: vec!["customer".into(), "note".into()],
                    expression: None,
                },
                rows: vec![],
            },
            Kind::Reindex => Change::Reindex {
                relation: orders(),
                name: "orders_pkey".into(),
                ddl: "CREATE UNIQUE INDEX orders_pkey ON public.orders USING btree (id)".into(),
                estimated_size: Bytes(1 << 20),
            },
            Kind::SetParameter => Change::SetParameter {
                name: "work_mem".into(),
                from: "5MB".into(),
                to: "9MB".into(),
            },
            Kind::PoolerIni => Change::SetPooler {
                edit: PoolerEdit::Ini {
                    ini: self.pooler.ini_path().to_path_buf(),
                    settings: vec![PoolerSettingChange {
                        key: "default_pool_size".into(),
                        from: "7".into(),
                        to: "21".into(),
                    }],
                },
            },
            Kind::PoolerUserlist => Change::SetPooler {
                edit: PoolerEdit::Userlist {
                    ini: self.pooler.ini_path().to_path_buf(),
                    userlist: self.pooler.userlist_path().to_path_buf(),
                    users: vec![self.app()],
                },
            },
        }
    }

    /// Whether a picture shows the change in force.
    pub fn in_force(&self, kind: Kind, picture: &Picture) -> bool {
        let index = |name: &str| {
            picture.schema.iter().any(|row| {
                row.first() == Some(&Some("index".into()))
                    && row.get(2) == Some(&Some(name.into()))
                    && row.get(4) == Some(&Some("true".into()))
            })
        };
        match kind {
            Kind::CreateIndex => index("orders_customer"),
            Kind::DropIndex => !index("orders_note"),
            Kind::Analyze => true,
            Kind::CreateStatistics => picture.schema.iter().any(|row| {
                row.first() == Some(&Some("statistics".into()))
                    && row.get(2) == Some(&Some("orders_customer_note".into()))
            }),
            Kind::Reindex => index("orders_pkey"),
            Kind::SetParameter => {
                picture.auto_conf.contains("work_mem = '9MB'") && picture.work_mem == "9MB"
            }
            Kind::PoolerIni => {
                picture.ini.contains("default_pool_size = 21") && picture.pool_size == "21"
            }
            Kind::PoolerUserlist => {
                picture.userlist.contains("SCRAM-SHA-256$")
                    && !picture.userlist.contains(PASSWORD)
                    && self.app_logs_in()
            }
        }
    }
}

fn app_of(database: &str) -> String {
    format!("app_{database}")
}

pub fn orders() -> RelationName {
    RelationName { schema: "public".into(), name: "orders".into() }
}

pub fn create_index(name: &str, column: &str) -> Change {
    Change::CreateIndex {
        definition: IndexDefinition {
            relation: orders(),
            name: name.into(),
            method: "btree".into(),
            unique: false,
            keys: vec![IndexKey::column(column)],
            include: vec![],
            predicate: None,
            pages_per_range: None,
        },
        estimated_size: Bytes(1 << 20),
    }
}

pub fn planned(id: &str, change: Change) -> PlannedChange {
    PlannedChange {
        id: id.into(),
        title: format!("a test's {}", change.kind()),
        change,
        group: "g".into(),
        apply: vec![],
        undo: vec!["what a person would run".into()],
        needs_restart: false,
        expected: Expected {
            effect: "none".into(),
            low: None,
            high: None,
            source: ExpectedSource::Rule,
        },
        risk: Risk { level: RiskLevel::Low, reasons: vec![] },
        evidence: vec![],
        statements: vec![],
        mechanism: String::new(),
    }
}

/// Short waits, so that tests that run into locks are quick.
pub fn quick() -> ExecutorOptions<'static> {
    ExecutorOptions {
        lock_timeout: Duration::from_millis(300),
        attempts: 4,
        backoff: Duration::from_millis(50),
        ..ExecutorOptions::default()
    }
}

pub async fn read_write(settings: &ConnectionSettings) -> Session {
    let options = SessionOptions { read_only: false, ..SessionOptions::default() };
    Session::connect(settings, options).await.unwrap()
}

/// Opens an executor, waiting for the backend of one that ended a moment ago.
pub async fn open<'a>(
    journal: &'a Journal,
    session: &'a Session,
    options: impl Fn() -> ExecutorOptions<'a>,
) -> Executor<'a> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match Executor::open(journal, session, options()).await {
            Ok(executor) => return executor,
            Err(ChangeError::Locked { .. }) if Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits for a condition that another process brings about.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "{what} did not happen within 30 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Awaits `work` while `other` runs on a thread of its own; in a multi-threaded runtime.
pub fn beside<T>(work: impl Future<Output = T>, other: impl FnOnce() + Send) -> T {
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            scope.spawn(other);
            tokio::runtime::Handle::current().block_on(work)
        })
    })
}

/// Runs a future from inside or outside a runtime.
pub fn on_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    std::thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    })
    .join()
    .unwrap()
}

/// The files below a directory.
pub fn files(directory: &std::path::Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Applies a change that has to be refused before anything is touched, and returns the refusal.
pub async fn refused(
    target: &Target,
    settings: &ConnectionSettings,
    change: Change,
) -> ChangeError {
    let (journal, session) = (target.journal(), read_write(settings).await);
    let mut executor = open(&journal, &session, || target.options()).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let before = target.picture();
    let change = planned("c1", change);
    let early = executor.preflight(std::slice::from_ref(&change)).await.unwrap_err();
    let error = executor.apply(&run, &change).await.unwrap_err();
    let kind = std::mem::discriminant;
    assert_eq!(kind(&early), kind(&error), "preflight says the same: {early}; {error}");
    assert_eq!(target.picture(), before);
    let record = journal.change(&run, "c1").unwrap();
    assert_eq!((record.state, record.undo), (JournalState::Failed, None));
    assert!(record.outcome.starts_with("nothing was touched"), "{}", record.outcome);
    executor.close().await.unwrap();
    error
}
