//! Questions that come many at once get the answers that each would get alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_model::index::{IndexDefinition, IndexKey, RelationName};
use pgassay_model::what_if::Hypothesis;
use pgassay_model::workload::WorkloadStatement;
use pgassay_postgres::{Session, SessionOptions, dsn, snapshot};
use pgassay_shadow::{BuildOptions, ReadOptions, Shadow};
use pgassay_testkit::{fresh_database, shared};
use std::sync::Arc;

const SCHEMA: &str = "CREATE TABLE people (id int PRIMARY KEY, town int NOT NULL, born date NOT NULL, name text);
    CREATE TABLE visits (person int NOT NULL, at timestamptz NOT NULL, price int NOT NULL);
    INSERT INTO people SELECT g, g % 300, date '1950-01-01' + g % 20000, 'name ' || g FROM generate_series(1, 20000) g;
    INSERT INTO visits SELECT g * 7 % 20000 + 1, timestamptz '2026-01-01 00:00+00' + g * interval '1 min', g % 500 FROM generate_series(1, 60000) g;
    ANALYZE";

const STATEMENTS: [&str; 6] = [
    "SELECT * FROM people WHERE town = 7",
    "SELECT * FROM people WHERE born BETWEEN '1960-01-01' AND '1960-02-01'",
    "SELECT count(*) FROM visits WHERE person = 4711 AND price > 100",
    "SELECT name, sum(price) FROM people JOIN visits ON person = id WHERE town = 3 GROUP BY name",
    "SELECT * FROM visits ORDER BY at DESC LIMIT 5",
    "UPDATE visits SET price = 0 WHERE at < '2026-01-02 00:00+00'",
];

/// `keys` as in DDL; the last one is no column.
const INDEXES: [(&str, &[&str]); 6] = [
    ("people", &["town"]),
    ("people", &["born", "town"]),
    ("visits", &["person"]),
    ("visits", &["person", "price"]),
    ("visits", &["at"]),
    ("visits", &["nothing"]),
];

fn index(place: usize) -> IndexDefinition {
    let (relation, keys) = INDEXES[place];
    let keys: Vec<IndexKey> = keys.iter().map(|key| IndexKey::column(*key)).collect();
    let definition = serde_json::json!({
        "relation": RelationName { schema: "public".into(), name: relation.into() },
        "name": format!("index_{place}"), "method": "btree", "unique": false, "keys": keys, "include": [], "predicate": null,
    });
    serde_json::from_value(definition).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_questions_at_once_get_the_answers_that_each_gets_alone() {
    let server = shared();
    let database = fresh_database(server);
    server.execute(&database, SCHEMA).unwrap();
    let settings = dsn::resolve(&server.dsn(&database)).unwrap();
    let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
    let snapshot = snapshot(&session).await.unwrap();
    let blueprint = pgassay_shadow::read(&session, &ReadOptions::default()).await.unwrap();
    let shadow = Arc::new(Shadow::build(&blueprint, &BuildOptions::default()).await.unwrap());
    let statements: Vec<WorkloadStatement> = STATEMENTS
        .iter()
        .map(|sql| WorkloadStatement {
            id: (*sql).into(),
            sql: (*sql).into(),
            weight: 1.0,
            parameter_source: "given".into(),
            ..WorkloadStatement::default()
        })
        .collect();
    // Every statement with no index, with each alone, and with all that exist; twice, and one that is refused.
    let mut sets: Vec<Vec<usize>> =
        vec![Vec::new(), (0..5).collect(), (0..5).collect(), vec![0, 5]];
    sets.extend((0..6).map(|place| vec![place]));
    let runtime = tokio::runtime::Handle::current();
    let mut at_once = shadow.engine(runtime.clone(), &snapshot).await.unwrap();
    let mut alone = shadow.engine(runtime, &snapshot).await.unwrap();
    tokio::task::spawn_blocking(move || {
        let questions: Vec<(&WorkloadStatement, Hypothesis)> = statements
            .iter()
            .flat_map(|statement| {
                sets.iter().map(move |set| {
                    let indexes = set.iter().map(|place| index(*place)).collect();
                    (statement, Hypothesis { indexes, ..Hypothesis::default() })
                })
            })
            .collect();
        let answers = at_once.cost_many(&questions);
        assert_eq!(answers.len(), questions.len());
        let mut planned = 0;
        for ((statement, hypothesis), answer) in questions.iter().zip(answers) {
            let expected = alone.cost(statement, hypothesis);
            assert_eq!(answer.is_ok(), expected.is_ok(), "{}: {answer:?}", statement.id);
            if let (Ok(answer), Ok(expected)) = (answer, expected) {
                assert_eq!(answer, expected, "{} with {:?}", statement.id, hypothesis.indexes);
                planned += usize::from(!answer.indexes.is_empty());
            }
        }
        assert!(planned > 8, "{planned} plans with an index");
    })
    .await
    .unwrap();
}
