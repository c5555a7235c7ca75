//! Extended statistics judged by what the application runs: the time it takes, and whether the planner expects what
//! comes.

use super::{
    Application, BY_CUSTOMER, Mix, SHORT, Scene, TURN, apply_until_kept, index, planned, watch,
};
use crate::passive;
use crate::past_runs;
use pgassay_model::change::Change;
use pgassay_model::extended_statistics::{StatementRows, StatisticsDefinition, StatisticsKind};
use pgassay_model::index::RelationName;
use pgassay_model::run::{ChangeState, Run, ValidationTest};
use pgassay_model::workload::{self, Workload, WorkloadStatement};

/// 200 rows where one is expected, each with a thousand of the other side to look through in a nested loop.
const PAIR: &str = "SELECT p.id FROM places p JOIN owners o ON o.owner = p.owner AND o.kind = p.kind WHERE p.country = $1 % 200 AND p.city = $1 % 200 AND p.zip = $1 % 200";

fn statistics(relation: &str, columns: &[&str], rows: StatementRows) -> Change {
    Change::CreateStatistics {
        definition: StatisticsDefinition {
            relation: RelationName { schema: "public".into(), name: relation.into() },
            name: format!("{relation}_stat"),
            kinds: vec![StatisticsKind::Dependencies],
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            expression: None,
        },
        rows: vec![rows],
    }
}

fn rows(statement: &str, estimated: f64, actual: f64) -> StatementRows {
    StatementRows { statement: statement.into(), estimated, actual }
}

fn workload() -> Workload {
    Workload {
        schema: workload::SCHEMA.into(),
        generated_at: jiff::Timestamp::UNIX_EPOCH,
        source: "test".into(),
        statements: [("pair", PAIR), ("other", BY_CUSTOMER)]
            .into_iter()
            .map(|(id, sql)| WorkloadStatement {
                id: id.into(),
                sql: sql.into(),
                weight: 1.0,
                parameters: vec![vec![Some("7".into())]],
                parameter_source: "given".into(),
                ..WorkloadStatement::default()
            })
            .collect(),
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    }
}

fn estimates(run: &Run) -> &ValidationTest {
    run.checks.iter().find(|check| check.id == "row_estimates").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_are_kept_where_estimates_came_nearer_and_taken_back_where_others_were_what_helped()
 {
    let _turn = TURN.lock().await;
    let scene = Scene::open();
    for sql in [
        "CREATE TABLE places (id int PRIMARY KEY, country int NOT NULL, city int NOT NULL, zip int NOT NULL, owner int NOT NULL, kind int NOT NULL)",
        "INSERT INTO places SELECT n, n % 200, n % 200, n % 200, n % 20000, n % 20 FROM generate_series(1, 40000) n",
        "CREATE INDEX ON places (zip)",
        "CREATE TABLE owners (owner int NOT NULL, kind int NOT NULL)",
        "INSERT INTO owners SELECT n, n % 20 FROM generate_series(0, 19999) n",
        "CREATE INDEX ON owners (kind)",
        "VACUUM ANALYZE",
    ] {
        scene.server.execute(&scene.database, sql).unwrap();
    }
    let application =
        Application::start(&scene, &Mix::of(&[(PAIR, 1), (BY_CUSTOMER, 4), (SHORT, 1)]));
    let good = statistics("places", &["country", "city", "zip"], rows("pair", 1.0, 200.0));
    let good = planned("c1", "statistics", good, &[PAIR]);
    let indexed = planned("c2", "indexes", index("orders_customer", "customer"), &[BY_CUSTOMER]);
    let useless = statistics("orders", &["id", "amount"], rows("other", 30.0, 3000.0));
    let useless = planned("c3", "indexes", useless, &[]);
    let mut plan = scene.plan(vec![good, indexed, useless]);
    plan.workload = Some(workload());
    let run = apply_until_kept(&scene, &plan, &watch(10), &["c1", "c2"]).await;
    let change = |id: &str| run.changes.iter().find(|change| change.id == id).unwrap();
    assert_eq!(change("c1").state, ChangeState::Kept, "{run:#?}");
    assert!(change("c1").reason.contains("pair: "), "{}", change("c1").reason);
    assert_eq!(change("c2").state, ChangeState::Kept, "{:#?}", change("c2"));
    assert_eq!(change("c3").state, ChangeState::RolledBack, "{:#?}", change("c3"));
    assert!(change("c3").reason.contains("came no nearer"), "{}", change("c3").reason);
    assert_eq!(estimates(&run).passed, Some(true), "{:?}", estimates(&run));

    let stored = past_runs::load_run(&scene.target.state, &run.run).unwrap();
    let again = passive::verify(&scene.target, stored, &watch(8)).await.unwrap();
    assert_eq!(estimates(&again).passed, Some(true), "{:?}", estimates(&again));
    drop(application);
    past_runs::rollback(&scene.target, &run.run, None).await.unwrap();
    let left = scene.server.query(&scene.database, "SELECT stxname FROM pg_statistic_ext").unwrap();
    assert!(left.is_empty(), "{left:?}");
}
