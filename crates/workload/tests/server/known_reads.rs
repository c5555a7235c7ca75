//! What is known to only read, and what is not.

use crate::Target;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::workload::Workload;
use pgassay_workload::{fill_parameters, find_hidden_writes};

const SHOP: &str = "
    CREATE TABLE visits (n int);
    INSERT INTO visits VALUES (0);
    CREATE TABLE guarded (n int);
    ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
    CREATE SEQUENCE tickets;
    CREATE FUNCTION visit(n int) RETURNS int LANGUAGE plpgsql AS $$
        BEGIN
            IF n = 7 THEN UPDATE visits SET n = visits.n + 1; END IF;
            RETURN n;
        END $$;
    CREATE FUNCTION plain(n int) RETURNS int LANGUAGE sql STABLE AS 'SELECT visit(n)';
    CREATE POLICY p ON guarded USING (visit(n) > 0);
    CREATE VIEW visiting AS SELECT visit(n) FROM visits;
    CREATE VIEW beyond AS SELECT count(*) AS n FROM visiting;
    CREATE VIEW ticket AS SELECT nextval('tickets') AS n;
    CREATE VIEW harmless AS SELECT lower(n::text) AS n, random(), now() FROM visits;";

async fn looked_at(target: &Target, sql: &[&str]) -> Workload {
    let mut workload = crate::workload(sql[0]);
    let first = workload.statements[0].clone();
    for more in &sql[1..] {
        let mut statement = first.clone();
        statement.sql = (*more).to_owned();
        workload.statements.push(statement);
    }
    fill_parameters(&mut workload, &target.session, &target.snapshot, 7).await.unwrap();
    assert_eq!(workload.skipped, []);
    find_hidden_writes(&mut workload, &target.session, &Interrupt::default()).await.unwrap();
    workload
}

#[tokio::test]
async fn a_statement_is_known_to_only_read_by_what_it_can_call() {
    let target = Target::with(SHOP).await;
    for (known, sql) in [
        (true, "SELECT count(*), max(n) FROM visits WHERE n > 1 ORDER BY random()"),
        (true, "SELECT * FROM harmless"),
        (true, "SELECT pg_advisory_xact_lock(1), clock_timestamp(), gen_random_uuid()"),
        (false, "SELECT visit(1)"),
        (false, "SELECT plain(n) FROM visits"),
        (false, "SELECT * FROM visiting"),
        (false, "SELECT n FROM beyond"),
        (false, "SELECT n FROM guarded"),
        (false, "SELECT query_to_xml('SELECT 1', true, true, '')"),
    ] {
        let statement = &looked_at(&target, &[sql]).await.statements[0];
        assert_eq!((statement.reads_only, statement.writes), (known, false), "{sql}");
    }
}

#[tokio::test]
async fn what_writes_at_once_is_found_and_what_lifts_a_sessions_guard_counts_as_writing() {
    let target = Target::with(SHOP).await;
    let workload = looked_at(
        &target,
        &[
            "SELECT visit(7)",
            "SELECT * FROM ticket",
            "SELECT nextval('tickets')",
            "SELECT set_config('default_transaction_read_only', 'off', false)",
            "SELECT lo_create(0)",
            "SELECT pg_catalog.lowrite(lo_open(1, 131072), '')",
            "UPDATE visits SET n = 1",
        ],
    )
    .await;
    let large_objects = "SELECT count(*) FROM pg_largeobject_metadata";
    let left = target.server.query(&target.database, large_objects).unwrap();
    assert_eq!(left, [[Some("0".to_owned())]], "nothing was run to see");
    for statement in &workload.statements {
        assert!(statement.writes && !statement.reads_only, "{}", statement.sql);
    }
}

#[tokio::test]
async fn an_operator_of_ones_own_leaves_nothing_known() {
    let target = Target::with(SHOP).await;
    let operator =
        "CREATE FUNCTION counted(int, int) RETURNS bool LANGUAGE sql AS 'SELECT visit($1) > $2';
        CREATE OPERATOR >>> (FUNCTION = counted, LEFTARG = int, RIGHTARG = int)";
    assert!(looked_at(&target, &["SELECT n FROM visits"]).await.statements[0].reads_only);
    target.server.execute(&target.database, operator).unwrap();
    assert!(!looked_at(&target, &["SELECT n FROM visits"]).await.statements[0].reads_only);
}
