//! Reports of fixed documents, in every format.
#![allow(clippy::unwrap_used)]

mod fixture;

use pgassay_model::comparison::Verdict;
use pgassay_model::measurement::{Protocol, StatementMeasurement};
use pgassay_model::run::{Run, RunState};
use pgassay_report::{
    comparison_terminal, history_terminal, html, json, markdown, measurement_terminal,
    plan_terminal, terminal,
};

/// A run that changed nothing.
fn untouched() -> Run {
    let mut run = fixture::run();
    run.headline = "Nothing to gain: no change was worth trying".to_owned();
    run.after = run.before.clone();
    run.comparison.clear();
    run.changes.clear();
    run.rollback.clear();
    run.backups.clear();
    run
}

#[test]
fn the_terminal_tells_summary_changes_and_undo() {
    insta::assert_snapshot!(terminal(&fixture::run(), false));
}

#[test]
fn markdown_tells_all_of_a_run() {
    insta::assert_snapshot!(markdown(&fixture::run()));
}

#[test]
fn html_tells_all_of_a_run() {
    let page = html(&fixture::run());
    let (head, rest) = page.split_once("<style>").unwrap();
    let (_, body) = rest.split_once("</style>").unwrap();
    insta::assert_snapshot!(format!("{head}{body}").replace("><", ">\n<"));
}

#[test]
fn a_run_that_changed_nothing_says_so() {
    insta::assert_snapshot!(terminal(&untouched(), false));
    assert!(!html(&untouched()).contains("class=\"after\""), "there is no after to draw");
}

#[test]
fn a_measurement_shows_where_the_time_goes() {
    insta::assert_snapshot!(measurement_terminal(&fixture::measurement(40.0), false));
}

#[test]
fn a_plan_shows_what_can_be_won_what_is_proposed_and_what_is_not() {
    insta::assert_snapshot!(plan_terminal(&fixture::plan(), false));
}

#[test]
fn the_history_shows_what_is_open() {
    insta::assert_snapshot!(history_terminal(&fixture::history(), false));
}

#[test]
fn comparisons_are_a_table() {
    let comparisons = [
        fixture::comparison("latency_mean_ms", 40.0, 44.0, Verdict::Regressed),
        fixture::comparison("statement:login", 48.0, 47.0, Verdict::Equivalent),
    ];
    insta::assert_snapshot!(comparison_terminal(&comparisons, false));
}

#[test]
fn colour_adds_nothing_but_colour() {
    let painted = terminal(&fixture::run(), true);
    assert!(painted.contains("\u{1b}[32m"));
    let mut plain = String::new();
    let mut rest = painted.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert_eq!(plain, terminal(&fixture::run(), false));
}

#[test]
fn the_page_fetches_nothing_and_runs_nothing() {
    let page = html(&fixture::run());
    for forbidden in ["<script", "http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for chart in [
        "Response time by percentile",
        "mean response time goes",
        "Change of each statement",
        "PgBouncer",
    ] {
        assert!(page.contains(chart), "{chart}");
    }
}

#[test]
fn text_from_a_server_stays_text() {
    let mut run = fixture::run();
    run.notes = vec!["\u{1b}[2J<script>alert(1)</script> | `x` [a](b)\nnext".to_owned()];
    run.headline = run.notes[0].clone();
    assert!(!terminal(&run, false).contains('\u{1b}'));
    assert!(!html(&run).contains("<script>"));
    let written = markdown(&run);
    assert!(written.contains("\\<script\\>"));
    assert!(written.contains("\\| \\`x\\` \\[a\\](b) next"));
}

#[test]
fn a_statement_with_backticks_stays_inside_its_block() {
    let mut run = fixture::run();
    for statement in &mut run.before.as_mut().unwrap().statements {
        statement.sql = "SELECT '```'".to_owned();
    }
    assert!(markdown(&run).contains("````\n-- login\nSELECT '```'\n````"));
}

#[test]
fn figures_that_are_not_finite_or_missing_are_drawn_somehow() {
    let mut run = fixture::run();
    let before = run.before.as_mut().unwrap();
    before.latency_ms.p99 = f64::NAN;
    before.latency_ms.max = f64::INFINITY;
    before.latency_ms.p50 = 0.0;
    before.ledger_ms = pgassay_model::measurement::Ledger::default();
    before.blocks.clear();
    before.statements.clear();
    run.after = None;
    for page in [html(&run), markdown(&run), terminal(&run, true)] {
        assert!(!page.is_empty());
    }
    assert!(!html(&run).contains("=\"NaN"));
    run.before = None;
    run.plan = None;
    run.state = RunState::FailedPartly;
    assert!(terminal(&run, false).contains("NOT all undone"));
    assert!(html(&run).contains("headline bad"));
}

#[test]
fn where_connecting_takes_the_time_the_summary_says_what_no_index_can_win() {
    let mut run = fixture::run();
    for lever in &mut run.plan.as_mut().unwrap().reachable {
        match lever.lever.as_str() {
            "execution" => lever.at_most_share = 0.03,
            _ => {
                lever.lever = "connections".to_owned();
                lever.at_most_share = 0.95;
            }
        }
    }
    let written = markdown(&run);
    assert!(written.contains("Most of the time is in connecting (reuse, log-in secrets): 95 %."));
    assert!(written.contains("No index can win more than 3 % of the response time"));
}

#[test]
fn json_is_the_run_itself() {
    let run = fixture::run();
    let text = json(&run);
    assert!(text.starts_with("{\n"));
    assert!(text.contains("\"schema\": \"pgassay/run/1\""));
}

#[test]
fn a_measurement_of_scripts_shows_each_and_the_statements_within() {
    let mut measurement = fixture::measurement(10.0);
    measurement.scripts = vec![StatementMeasurement {
        id: "transfer".into(),
        sql: "BEGIN; …".into(),
        requests: 1200,
        errors: 3,
        latency_ms: measurement.latency_ms,
        first_error: Some("one of its statements failed".into()),
        not_representative: None,
    }];
    measurement.mode.protocol = Protocol::Prepared;
    let text = measurement_terminal(&measurement, false);
    assert!(text.contains("Scripts") && text.contains("transfer"), "{text}");
    assert!(text.contains("one of its statements failed"), "{text}");
    assert!(text.contains("prepared statements") && text.contains("Statements"), "{text}");
    measurement.mode.speed = Some(2.0);
    let text = measurement_terminal(&measurement, false);
    assert!(text.contains("recorded sessions replayed at 2× their speed"), "{text}");
}

#[test]
fn statements_whose_values_are_not_representative_are_named_in_every_format() {
    let why = "5 rows per call, the application's 5000";
    let mut run = fixture::run();
    let before = run.before.as_mut().unwrap();
    before.statements[0].not_representative = Some(why.to_owned());
    let (id, alone) = (before.statements[0].id.clone(), measurement_terminal(before, false));
    assert!(alone.contains(&format!("{id}: {why}")), "{alone}");
    let page = markdown(&run);
    assert!(page.contains("Not representative: the values of") && page.contains(why), "{page}");
    for text in [terminal(&run, false), html(&run), json(&run)] {
        assert!(
            text.contains("ot representative") || text.contains("not_representative"),
            "{text}"
        );
    }
    assert!(!terminal(&fixture::run(), false).contains("representative"));
}

#[test]
fn a_run_that_only_watched_names_server_time_and_no_percentile() {
    let mut run = fixture::run();
    (run.before, run.after) = (None, None);
    run.comparison.retain(|entry| entry.metric == "latency_mean_ms");
    run.comparison[0].metric = "statement_time_index".to_owned();
    for change in &mut run.changes {
        change.comparison.clone_from(&run.comparison);
    }
    run.headline = "Improved: server time of the application's own statements".to_owned();
    let page = markdown(&run);
    assert!(page.contains("server time of a call"), "{page}");
    assert!(page.contains("over statements with at least half of that time"), "{page}");
    assert!(page.contains("measured: server time of a call"), "{page}");
    for percentile in ["p50", "p90", "p99"] {
        assert!(!page.contains(&format!("| {percentile} |")), "{percentile}: {page}");
    }
    assert!(!html(&run).is_empty() && !terminal(&run, true).is_empty());
}

#[test]
fn a_statement_that_always_failed_has_no_latency() {
    let mut measurement = fixture::measurement(40.0);
    let failed = &mut measurement.statements[0];
    failed.errors = failed.requests;
    failed.latency_ms = pgassay_model::measurement::Latency::default();
    let id = failed.id.clone();
    let text = measurement_terminal(&measurement, false);
    let row = text.lines().find(|line| line.trim_start().starts_with(&id)).unwrap();
    assert!(!row.contains("0.000 ms") && row.contains('–'), "{row}");
}
