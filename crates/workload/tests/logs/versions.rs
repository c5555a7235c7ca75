//! Logs of every version of PostgreSQL that is here: the installed one, and those in `target/postgres`, where
//! `./setup --tests` fetches the others.

use crate::{PREFIX, connect, formats, start, written};
use pgassay_testkit::Postgres;
use pgassay_workload::{LogOptions, capture_logs};
use std::path::{Path, PathBuf};

fn fetched() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/postgres");
    let Ok(versions) = std::fs::read_dir(directory) else { return Vec::new() };
    let bins = versions.filter_map(|version| Some(version.ok()?.path().join("native/bin")));
    bins.filter(|bin| bin.join("postgres").is_file()).collect()
}

async fn run_application(server: &Postgres) {
    server.execute("postgres", "CREATE TABLE notes (id bigint PRIMARY KEY, body text)").unwrap();
    let client = connect(server, "postgres").await;
    let insert = client.prepare("INSERT INTO notes VALUES ($1, $2)").await.unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    for (number, body) in [Some("it's\n\ttwo, lines"), None, Some("ends...")].iter().enumerate() {
        client.execute(&insert, &[&(number as i64), body]).await.unwrap();
    }
    client.batch_execute("COMMIT").await.unwrap();
    client.execute(&insert, &[&1_i64, &"there already"]).await.unwrap_err();
    client.batch_execute("BEGIN; DELETE FROM notes WHERE id = 0; ROLLBACK").await.unwrap();
    client.batch_execute("PREPARE p AS SELECT body FROM notes WHERE id = $1").await.unwrap();
    client.batch_execute("EXECUTE p (2)").await.unwrap();
    client.query("SELECT body FROM notes WHERE id = $1", &[&1_i64]).await.unwrap();
}

/// A request as it was recorded: statement, values, transaction, whether that was rolled back.
type Ran = (String, Vec<Option<String>>, u32, bool);

/// What an application ran, as a log tells.
fn read(file: &Path) -> Vec<Ran> {
    let options = LogOptions {
        log_line_prefix: PREFIX.into(),
        parameters_whole: true,
        ..LogOptions::default()
    };
    let workload = capture_logs(&[file.into()], &options).unwrap().workload;
    let session = workload.sessions.iter().max_by_key(|session| session.requests.len()).unwrap();
    assert!(session.requests.iter().all(|request| request.took_us.is_some()));
    session
        .requests
        .iter()
        .map(|request| {
            let statement = &workload.statements[request.statement];
            let values = statement.parameters[request.parameters].clone();
            (statement.sql.clone(), values, request.transaction, request.rolled_back)
        })
        .collect()
}

#[tokio::test]
async fn logs_of_all_versions_and_formats_tell_the_same() {
    let mut tested = Vec::new();
    let mut first: Option<Vec<Ran>> = None;
    for bin in std::iter::once(None).chain(fetched().into_iter().map(Some)) {
        // A fetched one may lie where the servers' account may not go.
        let server = match (start(bin.clone()), &bin) {
            (Ok(server), _) => server,
            (Err(error), None) => panic!("{error}"),
            (Err(error), Some(bin)) => {
                eprintln!("{} is not tested: {error}", bin.display());
                continue;
            }
        };
        run_application(&server).await;
        for extension in formats(&server) {
            let ran = read(&written(&server, extension, "versions"));
            let which = format!("{} {extension}", server.version_num());
            let expected = first.get_or_insert_with(|| ran.clone());
            assert_eq!(ran, *expected, "{which}");
            tested.push(which);
        }
    }
    println!("tested: {}", tested.join(", "));
    let text = |text: &str| Some(text.to_owned());
    let insert = |id: &str, body: Option<&str>| {
        let values = vec![text(id), body.map(str::to_owned)];
        ("INSERT INTO notes VALUES ($1, $2)".to_owned(), values, 1, false)
    };
    let select =
        |id: &str| ("SELECT body FROM notes WHERE id = $1".to_owned(), vec![text(id)], 0, false);
    let expected = [
        insert("0", Some("it's\n\ttwo, lines")),
        insert("1", None),
        insert("2", Some("ends...")),
        ("DELETE FROM notes WHERE id = $1".to_owned(), vec![text("0")], 2, true),
        select("2"),
        select("1"),
    ];
    assert_eq!(first.unwrap(), expected);
}
