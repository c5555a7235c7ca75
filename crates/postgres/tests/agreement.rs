//! What is written and read here without the server agrees with what the server itself says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_postgres::{Session, SessionOptions, dsn, snapshot};
use pgassay_sql::{quote_identifier, quote_literal};
use pgassay_testkit::{fresh_database, shared};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

async fn session() -> Session {
    let server = shared();
    let settings = dsn::resolve(&server.dsn(&fresh_database(server))).unwrap();
    Session::connect(&settings, SessionOptions::default()).await.unwrap()
}

/// Names and texts with what makes quoting hard more often than chance would have it.
fn texts(count: usize) -> Vec<String> {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let text = prop_oneof![
        "[a-z_][a-z0-9_$]{0,12}",
        "[a-zA-Z0-9_ .'\"\\\\-]{1,16}",
        "\\PC{1,12}",
        proptest::sample::select(vec![
            "select", "user", "order", "between", "table", "name", "value", "time", "left", "u&",
            "e'x'",
        ])
        .prop_map(str::to_owned),
    ];
    (0..count).map(|_| text.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test]
async fn identifiers_and_literals_are_quoted_as_the_server_quotes_them() {
    let session = session().await;
    let texts = texts(3000);
    let rows = session
        .client()
        .query(
            "SELECT quote_ident(t), quote_literal(t) FROM unnest($1::text[]) WITH ORDINALITY AS x (t, n) ORDER BY n",
            &[&texts],
        )
        .await
        .unwrap();
    for (text, row) in texts.iter().zip(rows) {
        assert_eq!(quote_identifier(text), row.get::<_, String>(0), "identifier {text:?}");
        // The server puts a space before E'' so that it can follow anything; the literal is the same.
        assert_eq!(quote_literal(text), row.get::<_, String>(1).trim_start(), "literal {text:?}");
    }
}

#[tokio::test]
async fn every_quoted_keyword_of_the_server_is_quoted_here() {
    let session = session().await;
    let rows = session
        .client()
        .query("SELECT word, quote_ident(word) FROM pg_get_keywords()", &[])
        .await
        .unwrap();
    assert!(rows.len() > 400);
    for row in rows {
        let word: String = row.get(0);
        let quoted: String = row.get(1);
        // The parser is of a later version and may know more keywords, never fewer.
        if quoted.starts_with('"') {
            assert_eq!(quote_identifier(&word), quoted);
        }
    }
}

#[tokio::test]
async fn sizes_of_parameters_are_what_the_server_reads_them_as() {
    let session = session().await;
    let parameters = snapshot(&session).await.unwrap().parameters;
    let mut compared = 0;
    for parameter in parameters.values() {
        let Some(bytes) = parameter.bytes() else { continue };
        let read: i64 = session
            .client()
            .query_one("SELECT pg_size_bytes($1)", &[&parameter.current])
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", parameter.name))
            .get(0);
        assert_eq!(
            u64::try_from(read).unwrap(),
            bytes.0,
            "{} = {}",
            parameter.name,
            parameter.current
        );
        compared += 1;
    }
    assert!(compared > 20, "{compared}");
}
