//! What goes wrong before or during a change: rights, stale plans, full disks, other runs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod target;

use pgassay_change::{ChangeError, Executor, JournalState};
use pgassay_model::change::{Change, PoolerEdit, PoolerSettingChange};
use pgassay_model::connection::ConnectionSettings;
use pgassay_model::units::Bytes;
use pgassay_testkit::{Postgres, PostgresOptions};
use std::path::Path;
use std::process::Command;
use target::{Kind, Target, create_index, eventually, open, orders, quick, read_write, refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_no_longer_true_is_refused() {
    let target = Target::new();
    let stale = async |change: Change| {
        let error = refused(&target, &target.settings(), change).await;
        assert!(matches!(error, ChangeError::Stale { .. }), "{error}");
        assert_eq!(error.exit_status(), 2);
        assert!(error.hint().unwrap().contains("new plan"));
        error.to_string()
    };
    target.execute("ALTER SYSTEM SET work_mem = '6MB'");
    target.execute("SELECT pg_reload_conf()");
    eventually("the reload", || target.show("work_mem") == "6MB");
    assert!(stale(target.change(Kind::SetParameter)).await.contains("expected 5MB, found 6MB"));
    assert!(stale(create_index("orders_note", "customer")).await.contains("USING btree (note)"));
    assert!(stale(create_index("orders", "customer")).await.contains("a relation of that name"));
    target.execute("DROP INDEX orders_note");
    assert!(stale(target.change(Kind::DropIndex)).await.contains("no such index"));
    target.execute("CREATE INDEX orders_note ON orders (note, id)");
    assert!(stale(target.change(Kind::DropIndex)).await.contains("(note, id)"));
    target.execute("DROP TABLE orders");
    assert!(stale(target.change(Kind::Analyze)).await.contains("no such relation"));
    assert!(stale(target.change(Kind::CreateIndex)).await.contains("no such relation"));

    let edit = |key: &str, from: &str, to: &str| Change::SetPooler {
        edit: PoolerEdit::Ini {
            ini: target.pooler.ini_path().to_path_buf(),
            settings: vec![PoolerSettingChange {
                key: key.into(),
                from: from.into(),
                to: to.into(),
            }],
        },
    };
    assert!(stale(edit("default_pool_size", "8", "9")).await.contains("expected 8, found 7"));
    assert!(stale(edit("no_such_key", "8", "9")).await.contains("no such key"));
    let list = std::fs::read_to_string(target.pooler.userlist_path()).unwrap();
    let md5 = format!("md5{}", "0".repeat(32));
    std::fs::write(target.pooler.userlist_path(), list.replace("plain-text", &md5)).unwrap();
    assert!(stale(target.change(Kind::PoolerUserlist)).await.contains("another kind of secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_pgbouncer_that_could_not_be_exact_is_refused_with_the_lines_to_change() {
    let target = Target::new();
    let refuse = async |change: Change| {
        let error = refused(&target, &target.settings(), change).await;
        assert!(matches!(error, ChangeError::Refused { .. }), "{error}");
        (error.to_string(), error.hint().unwrap())
    };
    let edit = |key: &str, from: &str, to: &str| Change::SetPooler {
        edit: PoolerEdit::Ini {
            ini: target.pooler.ini_path().to_path_buf(),
            settings: vec![PoolerSettingChange {
                key: key.into(),
                from: from.into(),
                to: to.into(),
            }],
        },
    };
    let (reason, _) = refuse(edit("default_pool_size", "7", "twenty")).await;
    assert!(reason.contains("throw-away PgBouncer does not take"), "{reason}");

    // The password in the userlist is not the server's: a log-in would not work afterwards.
    let ini = std::fs::read_to_string(target.pooler.ini_path()).unwrap();
    target.execute(&format!("ALTER ROLE {} PASSWORD 'another'", target.app()));
    let (reason, hint) = refuse(target.change(Kind::PoolerUserlist)).await;
    assert!(reason.contains("no log-in works now"), "{reason}");
    assert!(hint.contains("by hand"), "{hint}");

    // SET since, which a RELOAD would discard.
    let console = pgassay_pgbouncer::Console::connect(&target.access().console).await.unwrap();
    console.set("reserve_pool_size", "3").await.unwrap();
    let (reason, _) = refuse(target.change(Kind::PoolerIni)).await;
    assert!(reason.contains("other values than its file has: reserve_pool_size is 3"), "{reason}");
    console.reload().await.unwrap();

    std::fs::write(target.pooler.ini_path(), format!("{ini}[pgbouncer]\nmin_pool_size = 1\n"))
        .unwrap();
    let (reason, hint) = refuse(target.change(Kind::PoolerIni)).await;
    assert!(reason.contains("2 [pgbouncer] headers"), "{reason}");
    assert!(hint.contains("default_pool_size = 21") && hint.contains("RELOAD"), "{hint}");
    std::fs::write(target.pooler.ini_path(), &ini).unwrap();

    let directory = target.pooler.ini_path().parent().unwrap();
    match Immutable::new(directory) {
        Some(_immutable) => {
            let (reason, hint) = refuse(target.change(Kind::PoolerIni)).await;
            assert!(reason.contains("no file can be written in"), "{reason}");
            assert!(hint.contains("set by hand in [pgbouncer]"), "{hint}");
        }
        None => println!("not tried: this file system can't make a directory immutable"),
    }

    target.pooler.stop();
    let (journal, session) = (target.journal(), target.session().await);
    let mut executor = open(&journal, &session, || target.options()).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let error = executor.apply(&run, &target.planned(Kind::PoolerIni)).await.unwrap_err();
    assert!(matches!(error, ChangeError::Connect(_)), "{error}");
    assert_eq!(error.exit_status(), 3);
    target.pooler.start_again().unwrap();
}

/// A directory in which no file can be made, while it lives; by its flag, since root ignores modes.
struct Immutable<'a>(&'a Path);

impl<'a> Immutable<'a> {
    fn new(directory: &'a Path) -> Option<Self> {
        chattr("+i", directory).then_some(Immutable(directory))
    }
}

impl Drop for Immutable<'_> {
    fn drop(&mut self) {
        chattr("-i", self.0);
    }
}

fn chattr(flag: &str, directory: &Path) -> bool {
    let output = Command::new("chattr").arg(flag).arg(directory).output();
    output.is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rights_nothing_is_touched_and_the_grants_named_are_enough() {
    let target = Target::new();
    let role = format!("clerk_{}", target.database);
    target.execute(&format!(
        "CREATE ROLE {role} LOGIN; ALTER DATABASE {} OWNER TO postgres",
        target.database
    ));
    target.execute("CREATE ROLE shopkeeper; ALTER TABLE orders OWNER TO shopkeeper");
    let settings = ConnectionSettings { user: role, ..target.settings() };
    for kind in [
        Kind::CreateIndex,
        Kind::DropIndex,
        Kind::Analyze,
        Kind::CreateStatistics,
        Kind::Reindex,
        Kind::SetParameter,
        Kind::PoolerUserlist,
    ] {
        let mut granted = Vec::new();
        loop {
            let (journal, session) = (target.journal(), read_write(&settings).await);
            let mut executor = open(&journal, &session, || target.options()).await;
            let run = journal.start_run(&executor.target(), None).unwrap();
            let before = target.picture();
            let error = match executor.apply(&run, &target.planned(kind)).await {
                Ok(_) => {
                    assert!(target.in_force(kind, &target.picture()), "{kind:?}");
                    executor.rollback_run(&run).await.unwrap();
                    assert_eq!(target.picture(), before);
                    break;
                }
                Err(error) => error,
            };
            let ChangeError::MissingPrivilege { grant, .. } = &error else {
                panic!("{kind:?} after {granted:?}: {error}")
            };
            assert_eq!(error.exit_status(), 4);
            assert_eq!(target.picture(), before);
            assert_eq!(journal.change(&run, "c1").unwrap().state, JournalState::Failed);
            assert!(!granted.contains(grant), "{kind:?}: {grant} was not enough");
            for statement in grant.split("; ") {
                target.execute(statement);
            }
            granted.push(grant.clone());
        }
        println!("{kind:?}: {granted:?}");
        if matches!(kind, Kind::Analyze | Kind::CreateStatistics) {
            target.execute(&format!("REVOKE shopkeeper FROM {}", settings.user));
        }
    }
    target.execute(
        "ALTER TABLE orders OWNER TO postgres; DROP OWNED BY shopkeeper; DROP ROLE shopkeeper",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_or_a_run_of_another_target_is_refused() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let mut executor = open(&journal, &session, || target.options()).await;
    let mut planned_for = executor.target();
    executor.check_target(&planned_for).unwrap();
    planned_for.database = "another".into();
    let error = executor.check_target(&planned_for).unwrap_err();
    assert!(error.to_string().contains("another server or database"), "{error}");
    let run = journal.start_run(&planned_for, None).unwrap();
    let mut planned_for = executor.target();
    planned_for.system_identifier = planned_for.system_identifier.map(|id| id ^ 1);
    assert_eq!(executor.check_target(&planned_for).unwrap_err().exit_status(), 2);
    for error in [
        executor.apply(&run, &target.planned(Kind::Analyze)).await.unwrap_err(),
        executor.rollback_run(&run).await.unwrap_err(),
        executor.recover(&run).await.unwrap_err(),
    ] {
        assert!(matches!(error, ChangeError::Refused { .. }), "{error}");
    }
    assert!(executor.rollback_run("no such run").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_executor_is_kept_off_and_told_who_holds_the_lock() {
    let target = Target::new();
    let (journal, first, second) =
        (target.journal(), target.session().await, target.session().await);
    let executor = open(&journal, &first, || target.options()).await;
    let pid: i32 = first.client().query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let error = Executor::open(&journal, &second, quick()).await.err().unwrap();
    assert!(
        matches!(&error, ChangeError::Locked { holder } if holder.contains(&format!("backend {pid} of user postgres"))),
        "{error}"
    );
    executor.close().await.unwrap();
    Executor::open(&journal, &second, quick()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_another_process_works_on_is_left_to_it() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let mut executor = open(&journal, &session, || target.options()).await;
    let mut alive = Command::new("sleep").arg("60").spawn().unwrap();
    let run = journal.start_run(&executor.target(), None).unwrap();
    let file = rusqlite::Connection::open(target.state.path().join("journal.sqlite")).unwrap();
    let of_process = |pid: u32, started_at: &str| {
        file.execute(
            "UPDATE runs SET pid = ?1, started_at = ?2 WHERE run = ?3",
            rusqlite::params![pid, started_at, run],
        )
        .unwrap();
    };
    of_process(alive.id(), &pgassay_model::Timestamp::now().to_string());
    let error = executor.recover(&run).await.unwrap_err();
    assert!(error.to_string().contains("is still working on it"), "{error}");
    // A process of the same number that began after the run is another.
    of_process(alive.id(), "2020-01-01T00:00:00Z");
    executor.recover(&run).await.unwrap();
    alive.kill().unwrap();
    alive.wait().unwrap();
    of_process(alive.id(), &pgassay_model::Timestamp::now().to_string());
    executor.recover(&run).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_rebuilt_or_described_is_refused() {
    let target = Target::new();
    target.execute("CREATE EXTENSION IF NOT EXISTS btree_gist");
    target.execute("ALTER TABLE orders ADD CONSTRAINT apart EXCLUDE USING gist (id WITH =)");
    let refuse = async |change: Change| {
        let error = refused(&target, &target.settings(), change).await;
        assert!(
            matches!(error, ChangeError::Refused { .. } | ChangeError::Stale { .. }),
            "{error}"
        );
        error.to_string()
    };
    let reindex = |name: &str, ddl: &str| Change::Reindex {
        relation: orders(),
        name: name.into(),
        ddl: ddl.into(),
        estimated_size: Bytes(1 << 20),
    };
    let excluding = reindex("apart", "CREATE INDEX apart ON public.orders USING gist (id)");
    assert!(refuse(excluding).await.contains("exclusion constraint"));
    let other =
        reindex("orders_note", "CREATE INDEX orders_note ON public.orders USING btree (id)");
    assert!(refuse(other).await.contains("(note)"));
    let huge = Change::Reindex {
        relation: orders(),
        name: "orders_note".into(),
        ddl: "CREATE INDEX orders_note ON public.orders USING btree (note)".into(),
        estimated_size: Bytes(1 << 60),
    };
    assert!(refuse(huge).await.contains("are free in"));
    let Change::CreateStatistics { definition, .. } = target.change(Kind::CreateStatistics) else {
        panic!()
    };
    let mut injected = definition.clone();
    injected.expression = Some("note) FROM orders; DROP TABLE orders; --".into());
    assert!(
        refuse(Change::CreateStatistics { definition: injected, rows: vec![] })
            .await
            .contains("nothing else")
    );
    target.execute("CREATE STATISTICS orders_customer_note ON id, note FROM orders");
    assert!(
        refuse(Change::CreateStatistics { definition, rows: vec![] })
            .await
            .contains("no such statistics")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_the_disk_has_no_room_for_is_refused() {
    let target = Target::new();
    let Change::CreateIndex { definition, .. } = target.change(Kind::CreateIndex) else { return };
    let change = Change::CreateIndex { definition, estimated_size: Bytes(1 << 60) };
    let error = refused(&target, &target.settings(), change).await;
    assert!(error.to_string().contains("are free in"), "{error}");
    assert!(error.hint().unwrap().contains("free disk space"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_while_the_index_is_built_gets_its_room_back() {
    let target = Target::new();
    let mount = tempfile::Builder::new().prefix("pgassay-full-").tempdir_in("/tmp").unwrap();
    let small = mount.path().display().to_string();
    let owner = std::fs::metadata(target.server.data_directory()).unwrap();
    let (uid, gid) =
        (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
    let options = format!("size=1m,mode=0700,uid={uid},gid={gid}");
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs", &small]).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("not tried: no small file system could be mounted here");
        return;
    }
    target.execute("INSERT INTO orders SELECT n, n, 'more' FROM generate_series(4000, 90000) n");
    target.execute(&format!("CREATE TABLESPACE {}_small LOCATION '{small}'", target.database));
    target.execute(&format!(
        "ALTER DATABASE {0} SET default_tablespace = '{0}_small'",
        target.database
    ));
    {
        let before = target.picture();
        let (journal, session) = (target.journal(), target.session().await);
        let mut executor = open(&journal, &session, || target.options()).await;
        let run = journal.start_run(&executor.target(), None).unwrap();
        let error = executor.apply(&run, &target.planned(Kind::CreateIndex)).await.unwrap_err();
        assert!(matches!(error, ChangeError::Undone { .. }), "{error}");
        assert_eq!(error.sqlstate(), Some("53100"));
        assert_eq!(target.picture(), before);
    }
    target.execute(&format!("ALTER DATABASE {} RESET default_tablespace", target.database));
    target.execute("CHECKPOINT");
    target.execute(&format!("DROP TABLESPACE {}_small", target.database));
    assert!(Command::new("umount").arg(&small).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_pgassay_never_changes_or_could_not_bring_back_is_refused() {
    let target = Target::new();
    let refuse = async |change: Change| {
        let error = refused(&target, &target.settings(), change).await;
        assert!(matches!(error, ChangeError::Refused { .. }), "{error}");
        error.to_string()
    };
    let set = |name: &str, from: &str, to: &str| Change::SetParameter {
        name: name.into(),
        from: from.into(),
        to: to.into(),
    };
    for name in ["fsync", "synchronous_commit", "archive_mode", "listen_addresses", "autovacuum"] {
        assert!(refuse(set(name, "on", "off")).await.contains("never changes it"));
    }
    assert!(refuse(set("work_mem", "5MB", "1MB\nfsync = off")).await.contains("line break"));
    assert!(refuse(set("no_such_parameter", "1", "2")).await.contains("no such parameter"));
    target.execute(&format!("ALTER DATABASE {} SET work_mem = '5MB'", target.database));
    assert!(refuse(set("work_mem", "5MB", "9MB")).await.contains("overrides it here"));
    let drop = |name: &str, ddl: &str| Change::DropIndex {
        relation: orders(),
        name: name.into(),
        ddl: ddl.into(),
    };
    let ddl = "CREATE UNIQUE INDEX orders_pkey ON public.orders USING btree (id)";
    assert!(refuse(drop("orders_pkey", ddl)).await.contains("it is the primary key"));
    target.execute("COMMENT ON INDEX orders_note IS 'mine'");
    assert!(refuse(target.change(Kind::DropIndex)).await.contains("it has a comment"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_refused() {
    let directory = tempfile::Builder::new().prefix("pgassay-standby-").tempdir_in("/tmp").unwrap();
    let options =
        PostgresOptions { directory: Some(directory.path().into()), ..PostgresOptions::default() };
    let server = Postgres::start(options).unwrap();
    server.stop().unwrap();
    std::fs::write(server.data_directory().join("standby.signal"), "").unwrap();
    server.start_again().unwrap();
    let state = tempfile::tempdir().unwrap();
    let journal = pgassay_change::Journal::open(state.path()).unwrap();
    let settings = pgassay_postgres::dsn::resolve(&server.dsn("postgres")).unwrap();
    let session = read_write(&settings).await;
    let error = Executor::open(&journal, &session, quick()).await.err().unwrap();
    assert!(error.to_string().contains("it is a standby"), "{error}");
    assert_eq!(error.exit_status(), 2);
}
