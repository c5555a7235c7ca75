//! Every step of the job in short, without judging: what is run on each major version of PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use support::{DATABASE, Shop};

#[test]
fn capture_measure_plan_apply_and_rollback_work_with_this_version_of_the_server() {
    let shop = Shop::open(30_000);
    let before = shop.everything();
    let dsn = shop.dsn();

    shop.server.execute(DATABASE, "SELECT id, email FROM users WHERE username = 'user7'").unwrap();
    let captured = shop.file("captured.json");
    let answer = shop.pgassay(&["capture", &dsn, "-o", &captured, "--json"]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert!(answer.json()["statements"].to_string().contains("WHERE username = $1"));

    let measured = shop.file("before.json");
    let workload = shop.workload();
    let app = shop.app_dsn();
    let mut measure = vec!["measure", &app, "--direct", &dsn, "--workload", &workload];
    measure.extend(["--rate", "40", "--duration", "4s", "-o", &measured, "--json"]);
    let answer = shop.pgassay(&measure);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert_eq!(answer.json()["errors"], 0, "{}", answer.stdout);

    let plan = shop.file("plan.json");
    let mut planning = vec!["plan", &dsn, "--workload", &workload, "--measurement", &measured];
    planning.extend(["-o", &plan, "--json"]);
    let answer = shop.pgassay(&planning);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    let changes = answer.json()["changes"].as_array().unwrap().clone();
    let indexes = changes.iter().filter(|change| change["kind"] == "create_index").count();
    assert_eq!(indexes, 2, "{changes:#?}");

    let answer = shop.pgassay(&["apply", &plan, &dsn, "--json"]);
    assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
    assert_ne!(shop.everything(), before);
    let answer = shop.pgassay(&["rollback", "latest", &dsn]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert_eq!(shop.everything(), before);
}
