//! pgbench scripts as files: what is read, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_workload::pgbench::{Effect, Keep, Program, Step, parse};
use pgassay_workload::read;
use proptest::prelude::*;

/// As a user would write it down from pgbench's manual ("TPC-B (sort of)").
const TPCB: &str = "\
\\set aid random(1, 100000 * :scale)
\\set bid random(1, 1 * :scale)
\\set tid random(1, 10 * :scale)
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)
  VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
";

fn queries(program: &Program) -> Vec<&str> {
    program.queries.iter().map(|query| query.sql.as_str()).collect()
}

#[test]
fn variables_become_parameters_where_they_stand() {
    let program = parse(TPCB).unwrap();
    assert_eq!(program.queries.len(), 7);
    assert_eq!(
        program.queries[1].sql,
        "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2"
    );
    let names: Vec<&str> = program.queries[5]
        .variables
        .iter()
        .map(|variable| program.variables[*variable].as_str())
        .collect();
    assert_eq!(names, ["tid", "bid", "aid", "delta"]);
    assert_eq!(program.queries[5].line, 10);
    assert!(program.writes());
    let effects: Vec<Effect> = program.queries.iter().map(|query| query.effect).collect();
    assert_eq!(effects[0], Effect::Begins);
    assert_eq!(effects[2], Effect::Reads);
    assert_eq!(effects[5..], [Effect::Writes, Effect::Commits]);
}

#[test]
fn casts_quotes_comments_and_slices_are_no_variables() {
    let program = parse(
        "\\set n 1\n-- :n ; no\n/* :n ; /* ; */ */ SELECT ':n;' || \":n;\" || E'\\';:n' || $$;:n$$ || $a$;$$;$a$, \
         a[1:2], b[:n:m], 1::int, :n;;\nSELECT (1; 2) -- x",
    );
    // What is within parentheses ends nothing, and is for the parser to refuse.
    let error = program.unwrap_err();
    assert_eq!(error.line, 4, "{error}");
    let program = parse(
        "\\set n 1\nSELECT ':n;' || \":n;\" || E'\\';:n' || $$;:n$$ || $a$;$$;$a$, a[1:2], b[:n:m], 1::int, :n;;\n\
         SELECT 2 -- :n",
    )
    .unwrap();
    assert_eq!(
        queries(&program),
        [
            "SELECT ':n;' || \":n;\" || E'\\';:n' || $$;:n$$ || $a$;$$;$a$, a[1:2], b[$1:m], 1::int, $2",
            "SELECT 2 -- :n"
        ]
    );
}

#[test]
fn if_becomes_jumps_past_what_does_not_hold() {
    let program = parse(
        "\\set x 2\n\\if :x = 1\nSELECT 1;\n\\elif :x = 2\n\\if false\nSELECT 9;\n\\endif\nSELECT 2;\n\\else\nSELECT 3;\n\\endif\nSELECT 4",
    )
    .unwrap();
    let jumps: Vec<Option<usize>> = program
        .steps
        .iter()
        .map(|step| match step {
            Step::JumpUnless { to, .. } | Step::Jump { to } => Some(*to),
            _ => None,
        })
        .collect();
    // 0 set, 1 if, 2 SELECT 1, 3 jump, 4 elif, 5 if, 6 SELECT 9, 7 SELECT 2, 8 jump, 9 SELECT 3, 10 SELECT 4
    assert_eq!(
        jumps,
        [None, Some(4), None, Some(10), Some(9), Some(7), None, None, Some(10), None, None]
    );
}

#[test]
fn rows_are_kept_by_gset_and_sleeps_have_their_units() {
    let program = parse(
        "SELECT 1 AS one \\gset p_\n\\sleep 10 us\n\\sleep 5ms\n\\set t 2\n\\sleep :t s\nSELECT :p_one \\aset\nSELECT :one;",
    )
    .unwrap();
    let Step::Query { keep: Some(keep), .. } = &program.steps[0] else { panic!("{program:?}") };
    assert_eq!(keep, &Keep { prefix: "p_".into(), one_row: true });
    let units: Vec<u64> = program
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Sleep { unit_us, .. } => Some(*unit_us),
            _ => None,
        })
        .collect();
    assert_eq!(units, [1, 1000, 1_000_000]);
    assert_eq!(queries(&program), ["SELECT 1 AS one", "SELECT $1", "SELECT $1"]);
}

#[test]
fn what_pgbench_would_refuse_names_its_line() {
    for (text, line, reason) in [
        ("SELECT 1;\n\\startpipeline\nSELECT 2;", 2, "\\startpipeline is not supported"),
        ("\\shell ls\nSELECT 1;", 1, "run no programs"),
        ("SELECT 1 \\; SELECT 2;", 1, "\\; is not supported"),
        ("SELECT 1;\n\\if true\nSELECT 2;", 2, "\\if has no \\endif"),
        ("SELECT 1;\n\\endif", 2, "\\endif has no \\if"),
        ("\\if true\n\\else\n\\else\n\\endif\nSELECT 1;", 3, "after \\else"),
        ("\\gset\nSELECT 1;", 1, "right after a statement"),
        ("SELECT 1;\n\\set x 1\n\\gset\n", 3, "right after a statement"),
        ("\\set x\nSELECT 1;", 1, "needs a name and an expression"),
        ("SELECT 1;\n\\set x 1 +\n", 2, "ends too early"),
        ("\\sleep soon\nSELECT 1;", 1, "\\sleep needs"),
        ("SELECT 1;\n\nSELECT :nowhere;", 3, "the variable :nowhere is set nowhere"),
        ("SELEC 1;", 1, "not SQL"),
        ("\\set x 1\n", 1, "holds no statement"),
        ("", 1, "holds no statement"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.reason.contains(reason), "{text}: {error}");
    }
}

#[test]
fn scripts_have_weights_and_their_statements_the_values_they_will_have() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("tpcb.sql"), TPCB).unwrap();
    std::fs::write(path("one.sql"), "SELECT 1 AS x \\gset\nSELECT :x;").unwrap();
    let workload = read(format!("{}@3,{}", path("tpcb.sql"), path("one.sql"))).unwrap();
    let scripts: Vec<(&str, f64, bool)> = workload
        .scripts
        .iter()
        .map(|script| (script.id.as_str(), script.weight, script.writes))
        .collect();
    assert_eq!(scripts, [("tpcb", 3.0, true), ("one", 1.0, false)]);
    let ids: Vec<&str> = workload.statements.iter().map(|own| own.id.as_str()).collect();
    assert_eq!(ids, ["tpcb.2", "tpcb.3", "tpcb.4", "tpcb.5", "tpcb.6", "one.1", "one.2"]);
    let account = &workload.statements[1];
    assert!(account.parameters.len() > 90 && account.parameter_source == "the script");
    for set in &account.parameters {
        let aid: i64 = set[0].as_deref().unwrap().parse().unwrap();
        assert!((1..=100_000).contains(&aid));
    }
    // What the server's answer gives is not known before.
    assert!(workload.statements[6].parameters.is_empty());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(
        text in "(\\\\(set|if|elif|else|endif|sleep|gset|aset|;)? ?|SELECT |:[a-z]|[;'\"$()\\[\\]:/*-]|[a-z0-9é ]|\n){0,30}",
    ) {
        let _ = parse(&text);
    }

    #[test]
    fn statements_are_found_again_whatever_is_quoted_in_them(
        texts in prop::collection::vec("[a-z;:\\\\ -]{0,12}", 1..6),
    ) {
        let literals: Vec<String> = texts.iter().map(|text| format!("SELECT '{text}'")).collect();
        let program = parse(&literals.join(";\n")).unwrap();
        prop_assert_eq!(queries(&program), literals);
    }
}
