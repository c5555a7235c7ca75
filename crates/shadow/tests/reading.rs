//! What reading takes of a source, what it leaves there, and what a shadow makes of what could be read in part only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_model::index::RelationName;
use pgassay_postgres::{Session, SessionOptions, dsn};
use pgassay_shadow::{BuildOptions, ReadOptions, Shadow};
use pgassay_testkit::{Postgres, fresh_database, shared};
use std::time::{Duration, Instant};

const SCHEMA: [&str; 2] = [
    "CREATE TABLE visits (id int PRIMARY KEY, person int NOT NULL, site int NOT NULL, secret text);
     INSERT INTO visits SELECT g, g % 5000, g % 50, 'row ' || g FROM generate_series(1, 20000) g;
     CREATE INDEX visits_person ON visits (person); CREATE INDEX visits_site ON visits (site);
     CREATE TABLE hidden (id int PRIMARY KEY, person int NOT NULL);
     INSERT INTO hidden SELECT g, g FROM generate_series(1, 5000) g;
     CREATE VIEW both_of_them AS SELECT v.id, h.person FROM visits v JOIN hidden h ON h.person = v.id",
    "VACUUM ANALYZE",
];

async fn session(server: &Postgres, database: &str, role: &str) -> Session {
    let mut settings = dsn::resolve(&server.dsn(database)).unwrap();
    settings.user = role.to_owned();
    Session::connect(&settings, SessionOptions::default()).await.unwrap()
}

fn filled(server: &Postgres) -> String {
    let database = fresh_database(server);
    for sql in SCHEMA {
        server.execute(&database, sql).unwrap();
    }
    database
}

/// A role that this server has for one database; roles are of all databases.
fn role(server: &Postgres, database: &str, grants: &str) -> String {
    let role = format!("r_{database}");
    let grants = grants.replace("ROLE", &role);
    server.execute(database, &format!("CREATE ROLE {role} LOGIN; {grants}")).unwrap();
    role
}

fn named(name: &str) -> RelationName {
    RelationName { schema: "public".into(), name: name.into() }
}

/// Scans of an index so far; the server tells them with some delay.
fn scans(server: &Postgres, database: &str, index: &str) -> u64 {
    let sql = format!(
        "SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_user_indexes WHERE indexrelname = '{index}'"
    );
    server.query(database, &sql).unwrap()[0][0].as_deref().unwrap().parse().unwrap()
}

/// Waits until a scan of an index is told.
fn wait_for_scans(server: &Postgres, database: &str, index: &str, least: u64) {
    let end = Instant::now() + Duration::from_secs(20);
    while scans(server, database, index) < least {
        assert!(Instant::now() < end, "{index}");
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superusers_reading_counts_as_no_scan_of_any_index() {
    let server = shared();
    let database = filled(server);
    let observer = session(server, &database, "postgres").await;
    let blueprint = pgassay_shadow::read(&observer, &ReadOptions::default()).await.unwrap();
    assert_eq!(blueprint.lacking, []);
    // Two ends of four indexes; some rows are at more than one end.
    assert!(blueprint.endpoints.len() >= 6, "{}", blueprint.endpoints.len());
    // What this session scans after that is told after what it scanned before.
    observer
        .client()
        .batch_execute("SET enable_seqscan = off; SELECT * FROM hidden WHERE id = 1")
        .await
        .unwrap();
    drop(observer);
    wait_for_scans(server, &database, "hidden_pkey", 1);
    assert_eq!(scans(server, &database, "hidden_pkey"), 1);
    for index in ["visits_person", "visits_site", "visits_pkey"] {
        assert_eq!(scans(server, &database, index), 0, "{index}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_stop_the_counting_leaves_indexes_alone_that_nothing_scanned() {
    let server = shared();
    let database = filled(server);
    let role = role(server, &database, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO ROLE");
    let sql = "SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT * FROM visits WHERE person = 7";
    server.query(&database, sql).unwrap();
    wait_for_scans(server, &database, "visits_person", 1);
    let observer = session(server, &database, &role).await;
    let blueprint = pgassay_shadow::read(&observer, &ReadOptions::default()).await.unwrap();
    drop(observer);
    // The key of a constraint is never found unused, so its ends are looked up.
    wait_for_scans(server, &database, "visits_pkey", 2);
    assert!(scans(server, &database, "visits_person") >= 3);
    assert_eq!(scans(server, &database, "visits_site"), 0);
    let left = blueprint.lacking.iter().find(|lacking| lacking.what.contains("the ends of"));
    let left = left.unwrap_or_else(|| panic!("{:?}", blueprint.lacking));
    assert!(
        left.what.contains("public.visits (site)") && !left.what.contains("person"),
        "{left:?}"
    );
    assert!(left.why.contains("track_counts") && left.relation.is_none(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_says_what_it_took_of_the_source() {
    let server = shared();
    let database = filled(server);
    let observer = session(server, &database, "postgres").await;
    let blueprint = pgassay_shadow::read(&observer, &ReadOptions::default()).await.unwrap();
    let taken = blueprint.taken;
    eprintln!("{taken:?}");
    assert!((30..200).contains(&taken.statements), "{taken:?}");
    assert!(
        taken.table_rows <= 8 && taken.table_rows as usize >= blueprint.endpoints.len(),
        "{taken:?}"
    );
    assert!(
        taken.rows > taken.table_rows && taken.bytes > 1000 && taken.milliseconds > 0.0,
        "{taken:?}"
    );
    let options = ReadOptions { endpoints: false };
    let without = pgassay_shadow::read(&observer, &options).await.unwrap().taken;
    assert_eq!(without.table_rows, 0);
    assert!(without.statements < taken.statements);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_read_some_relations_gets_a_shadow_of_those() {
    let server = shared();
    let database = filled(server);
    let role = role(
        server,
        &database,
        "GRANT SELECT (id, person, site) ON visits TO ROLE; GRANT pg_monitor TO ROLE",
    );
    let observer = session(server, &database, &role).await;
    let blueprint = pgassay_shadow::read(&observer, &ReadOptions::default()).await.unwrap();
    let shadow = Shadow::build(&blueprint, &BuildOptions::default()).await.unwrap();
    assert_eq!(shadow.unable_for(&named("visits")), None);
    let why = shadow.imprecise_for(&named("visits")).unwrap();
    assert!(why.contains("secret") && !why.contains("person"), "{why}");
    let why = shadow.unable_for(&named("hidden")).unwrap();
    assert!(why.contains(&format!("GRANT SELECT ON public.hidden TO {role}")), "{why}");
    assert!(shadow.unable_for(&named("both_of_them")).is_some());
    let plans = "SELECT id, site FROM visits WHERE person = 77";
    let session_there = session(server, &database, "postgres").await;
    let mut costs = Vec::new();
    for session in [&session_there, &shadow.session().await.unwrap()] {
        let rows = session.client().simple_query(&format!("EXPLAIN {plans}")).await.unwrap();
        costs.push(format!("{rows:?}"));
    }
    assert_eq!(costs[0], costs[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_extension_the_relations_of_its_types_are_lacking_and_no_others() {
    let server = shared();
    let database = filled(server);
    let extended = "CREATE EXTENSION citext; CREATE TABLE mails (id serial PRIMARY KEY, mail citext, person int REFERENCES visits);
         CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at);
         CREATE TABLE tags (id int PRIMARY KEY REFERENCES visits, label text);
         CREATE INDEX tags_label ON tags ((label::citext));
         CREATE VIEW addresses AS SELECT mail FROM mails; ANALYZE mails";
    server.execute(&database, extended).unwrap();
    let observer = session(server, &database, "postgres").await;
    let mut blueprint = pgassay_shadow::read(&observer, &ReadOptions::default()).await.unwrap();
    // As on a machine whose installation does not have it.
    for definition in &mut blueprint.definitions {
        definition.sql =
            definition.sql.replace("EXTENSION IF NOT EXISTS citext", "EXTENSION no_such_extension");
    }
    let shadow = Shadow::build(&blueprint, &BuildOptions::default()).await.unwrap();
    for name in ["mails", "tags", "addresses"] {
        let why = shadow.unable_for(&named(name)).unwrap_or_else(|| panic!("{name}"));
        assert!(why.contains("(42704)") || why.contains("(42P01)"), "{name}: {why}");
    }
    for name in ["visits", "hidden", "parts", "both_of_them"] {
        assert_eq!(shadow.unable_for(&named(name)), None, "{name}");
        assert_eq!(shadow.imprecise_for(&named(name)), None, "{name}");
    }
    let general: Vec<&str> = shadow
        .lacking()
        .iter()
        .filter(|lacking| lacking.relation.is_none())
        .map(|lacking| lacking.what.as_str())
        .collect();
    assert_eq!(general.len(), 1, "{general:?}");
    assert!(general[0].contains("no_such_extension"), "{general:?}");
}
