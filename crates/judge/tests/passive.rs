//! Verdicts on what an application ran by itself, and the rules that take a change back at once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use pgassay_judge::{AbortRules, baseline, compare_observations, compare_switched};
use pgassay_model::Timestamp;
use pgassay_model::comparison::Verdict;
use pgassay_model::observation::{
    Bucket, Observation, ObservedStatement, SCHEMA, StatementActivity, statement_key,
};
use proptest::prelude::*;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

/// A statement in a bucket: calls, mean ms, rows per call, blocks per call.
type Run = (&'static str, u64, f64, f64, f64);

fn activity(&(_, calls, mean, rows, blocks): &Run, factor: f64) -> StatementActivity {
    StatementActivity {
        calls,
        time_ms: calls as f64 * mean * factor,
        rows: (calls as f64 * rows) as u64,
        blocks: (calls as f64 * blocks) as u64,
        wal_bytes: 0,
    }
}

fn key(id: &str) -> String {
    statement_key(10, id.len() as i64 * 1000 + i64::from(id.as_bytes()[0]))
}

/// Buckets with 3 % of noise.
fn observed(count: usize, seed: u64, runs: &[Run]) -> Observation {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut statements = BTreeMap::new();
    for (id, ..) in runs {
        let one = ObservedStatement {
            user: 10,
            queryid: id.len() as i64 * 1000 + i64::from(id.as_bytes()[0]),
            id: (*id).to_owned(),
            sql: String::new(),
        };
        statements.insert(key(id), one);
    }
    let buckets = (0..count)
        .map(|number| Bucket {
            start_s: number as f64 * 60.0,
            duration_s: 60.0,
            statements: runs
                .iter()
                .map(|run| (key(run.0), activity(run, 1.0 + 0.06 * (random.random::<f64>() - 0.5))))
                .collect(),
            commits: 1000,
            ..Bucket::default()
        })
        .collect();
    Observation {
        schema: SCHEMA.into(),
        started_at: Timestamp::UNIX_EPOCH,
        ended_at: Timestamp::UNIX_EPOCH,
        target: String::new(),
        bucket_s: 60.0,
        statements,
        buckets,
        resets: 0,
        evictions: Some(0),
        with_planning: false,
    }
}

const SLOW: Run = ("slow", 100, 10.0, 1.0, 500.0);
const FAST: Run = ("fast", 1000, 1.0, 1.0, 4.0);

#[test]
fn a_faster_statement_is_an_improvement_and_its_blocks_are_named() {
    let before = observed(20, 1, &[SLOW, FAST]);
    let after = observed(20, 2, &[("slow", 100, 1.0, 1.0, 5.0), FAST]);
    let judgement = compare_observations(&before, &after);
    assert_eq!(judgement.verdict, Verdict::Improved, "{}", judgement.reason);
    // Half of the time became ten times as fast: exp(0.5 · ln 0.1) = 0.32.
    assert!((judgement.comparison[0].change.unwrap() + 0.68).abs() < 0.02);
    assert!(judgement.notes.iter().any(|note| note.contains("500 → 5.00 blocks")), "{judgement:?}");
}

#[test]
fn another_mix_of_the_same_statements_is_no_change() {
    let before = observed(60, 1, &[SLOW, FAST]);
    let after = observed(60, 2, &[("slow", 300, 10.0, 1.0, 500.0), FAST]);
    let judgement = compare_observations(&before, &after);
    assert_eq!(judgement.verdict, Verdict::Equivalent, "{}", judgement.reason);
}

#[test]
fn one_statement_that_became_slow_is_a_regression_though_the_whole_improved() {
    let before = observed(20, 1, &[SLOW, FAST, ("rest", 20, 5.0, 1.0, 5.0)]);
    let after =
        observed(20, 2, &[("slow", 100, 1.0, 1.0, 5.0), FAST, ("rest", 20, 15.0, 1.0, 5.0)]);
    let judgement = compare_observations(&before, &after);
    assert_eq!(judgement.verdict, Verdict::Regressed);
    assert!(judgement.reason.contains("statement rest"), "{}", judgement.reason);
}

#[test]
fn a_statement_that_returns_ten_times_the_rows_is_not_slower_by_our_change() {
    let before = observed(20, 1, &[SLOW, FAST]);
    let after = observed(20, 2, &[("slow", 100, 80.0, 10.0, 4000.0), FAST]);
    let judgement = compare_observations(&before, &after);
    assert_ne!(judgement.verdict, Verdict::Regressed, "{}", judgement.reason);
    let note = judgement.notes.iter().find(|note| note.contains("number of rows")).unwrap();
    assert!(note.contains("slow (50 % of the server time before)"), "{note}");
    assert!(note.contains("1.00 → 10 per call"), "{note}");
}

#[test]
fn statements_that_vanish_or_are_new_are_told_with_their_share_and_too_many_leave_no_verdict() {
    let before = observed(20, 1, &[SLOW, FAST, ("old", 10, 1.0, 1.0, 1.0)]);
    let after = observed(20, 2, &[SLOW, FAST, ("new", 20, 1.0, 1.0, 1.0)]);
    let judgement = compare_observations(&before, &after);
    let all = judgement.notes.join("\n");
    let gone = all.lines().find(|note| note.contains("did not run after")).unwrap();
    assert!(
        gone.starts_with("not compared: 1 statement with 0.") && gone.contains("0.49 %"),
        "{all}"
    );
    let new = all.lines().find(|note| note.contains("did not run before")).unwrap();
    assert!(new.contains("1 % of the server time after"), "{all}");
    assert_eq!(judgement.verdict, Verdict::Equivalent, "{}", judgement.reason);

    let before = observed(20, 1, &[("slow", 300, 10.0, 1.0, 500.0), FAST]);
    let after = observed(20, 2, &[("fast", 1000, 0.5, 1.0, 4.0)]);
    let judgement = compare_observations(&before, &after);
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert!(judgement.reason.contains("only 25 % of the server time"), "{}", judgement.reason);
}

#[test]
fn the_same_text_of_two_roles_is_two_statements_with_names_of_their_own() {
    let mut before = observed(10, 1, &[SLOW, FAST]);
    for one in before.statements.values_mut() {
        one.id = "q1".into();
    }
    let judgement = compare_observations(&before, &before.clone());
    assert_eq!(judgement.names["q1"].len(), 2);
    assert!(judgement.names["q1"].iter().all(|name| name.contains("role 10")));
}

#[test]
fn pairs_cancel_what_both_sides_share() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(3);
    let mut without = observed(12, 1, &[SLOW, FAST]);
    let mut with =
        observed(12, 2, &[("slow", 100, 9.0, 1.0, 500.0), ("fast", 1000, 0.9, 1.0, 4.0)]);
    for (off, on) in without.buckets.iter_mut().zip(&mut with.buckets) {
        let weather = 1.0 + 3.0 * random.random::<f64>();
        for one in off.statements.values_mut().chain(on.statements.values_mut()) {
            one.time_ms *= weather;
        }
    }
    let before = observed(12, 5, &[SLOW, FAST]);
    let judgement = compare_switched(&before, &without, &with);
    assert_eq!(judgement.verdict, Verdict::Improved, "{}", judgement.reason);
    let unpaired = compare_observations(&without, &with);
    assert_eq!(unpaired.verdict, Verdict::Inconclusive, "{}", unpaired.reason);
}

#[test]
fn an_observation_that_can_not_be_judged_by_says_why() {
    let silent = observed(10, 1, &[]);
    assert!(baseline(&silent).unwrap_err().contains("nothing ran in this database in 600 s"));
    let short = observed(3, 1, &[SLOW]);
    assert!(baseline(&short).unwrap_err().contains("too few"));
    let mut rare = observed(10, 1, &[SLOW, FAST]);
    for bucket in rare.buckets.iter_mut().skip(1) {
        bucket.statements.remove(&key("slow"));
        bucket.statements.remove(&key("fast"));
    }
    assert!(baseline(&rare).unwrap_err().contains("longer buckets"));
    let good = baseline(&observed(20, 1, &[SLOW, FAST])).unwrap();
    assert!(good.steady && good.detectable.unwrap() < 0.05, "{good:?}");
    assert!((good.index_ms - 10f64.sqrt()).abs() < 0.1, "{good:?}");
}

#[test]
fn a_slow_down_of_a_quarter_in_two_buckets_in_a_row_ends_it_and_one_bucket_does_not() {
    let before = observed(20, 1, &[SLOW, FAST]);
    let bucket = |factor: f64| {
        let run = [("slow", 100, 10.0 * factor, 1.0, 500.0), ("fast", 1000, factor, 1.0, 4.0)];
        observed(1, 2, &run).buckets.remove(0)
    };
    let mut rules = AbortRules::new(&before);
    for factor in [1.4, 1.0, 1.4, 1.2, 1.15] {
        assert_eq!(rules.look(&bucket(factor)), None, "{factor}");
    }
    assert_eq!(rules.look(&bucket(1.4)), None);
    assert!(rules.look(&bucket(1.4)).unwrap().contains("the limit being 25 %"));

    // As slow without the change: the weather.
    let mut rules = AbortRules::new(&before);
    rules.note_without(&bucket(1.5));
    assert_eq!((rules.look(&bucket(1.4)), rules.look(&bucket(1.4))), (None, None));

    // More rows per call are another question.
    let mut rules = AbortRules::new(&before);
    let asked = [("slow", 100, 80.0, 10.0, 4000.0), FAST];
    let asked = observed(1, 2, &asked).buckets.remove(0);
    assert_eq!((rules.look(&asked), rules.look(&asked)), (None, None));
}

#[test]
fn rollbacks_deadlocks_silence_and_memory_end_it() {
    let before = observed(20, 1, &[SLOW, FAST]);
    let usual = before.buckets[0].clone();
    let after_two = |bucket: &Bucket| {
        let mut rules = AbortRules::new(&before);
        assert_eq!(rules.look(bucket), None);
        rules.look(bucket).unwrap()
    };
    let failing = Bucket { commits: 900, rollbacks: 100, ..usual.clone() };
    assert!(after_two(&failing).contains("10 % of the transactions were rolled back"));
    let deadlocked = Bucket { deadlocks: 2, ..usual.clone() };
    assert!(after_two(&deadlocked).contains("2 deadlocks"));
    let silent = Bucket { statements: BTreeMap::new(), ..usual.clone() };
    assert!(after_two(&silent).contains("no statement came to its end"));
    let full = Bucket { memory_used: Some(0.95), ..usual };
    assert!(AbortRules::new(&before).look(&full).unwrap().contains("95 %"));
}

proptest! {
    #[test]
    fn no_figures_make_a_comparison_or_a_rule_panic(
        figures in proptest::collection::vec((0u64..3, proptest::num::f64::ANY, 0u64..9, 0u64..9), 0..40),
    ) {
        let ids = ["a", "bb", "ccc"];
        let mut sides = [observed(4, 1, &[]), observed(4, 1, &[])];
        for (number, (calls, time_ms, rows, blocks)) in figures.into_iter().enumerate() {
            let one = StatementActivity { calls, time_ms, rows, blocks, wal_bytes: 0 };
            let bucket = &mut sides[number % 2].buckets[number / 2 % 4];
            bucket.statements.insert(key(ids[number % 3]), one);
        }
        let [before, after] = sides;
        let _ = baseline(&before);
        let _ = compare_observations(&before, &after);
        let _ = compare_switched(&before, &after, &before);
        let mut rules = AbortRules::new(&before);
        for bucket in &after.buckets {
            let _ = rules.look(bucket);
        }
    }
}

/// A window of a machine whose speed wanders (neighbours of a bucket correlated by 0.5), with noise of each
/// statement's own; `factor` on the slow statement.
fn wandering(random: &mut Xoshiro256PlusPlus, speed: &mut f64, factor: f64) -> Observation {
    let mut window = observed(
        20,
        0,
        &[("slow", 100, 10.0 * factor, 1.0, 500.0), FAST, ("rest", 20, 5.0, 1.0, 5.0)],
    );
    let mut normal = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
    for bucket in &mut window.buckets {
        *speed = 0.5 * *speed + 0.08 * normal();
        for one in bucket.statements.values_mut() {
            one.time_ms *= (*speed + 0.05 * normal()).exp();
        }
    }
    window
}

#[test]
fn of_windows_without_a_change_few_are_called_anything_and_a_real_effect_is_found() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(11);
    let mut speed = 0.0;
    let (mut called, mut alarms, mut found) = (0, 0, 0);
    for _ in 0..40 {
        let before = wandering(&mut random, &mut speed, 1.0);
        let after = wandering(&mut random, &mut speed, 1.0);
        let verdict = compare_observations(&before, &after).verdict;
        called += u32::from(matches!(verdict, Verdict::Improved | Verdict::Regressed));
        let mut rules = AbortRules::new(&before);
        alarms += u32::from(after.buckets.iter().any(|bucket| rules.look(bucket).is_some()));
        let faster = wandering(&mut random, &mut speed, 0.5);
        found += u32::from(compare_observations(&before, &faster).verdict == Verdict::Improved);
    }
    assert!(called <= 2, "{called} of 40 called improved or regressed");
    assert!(alarms <= 1, "{alarms} of 40 windows would have been broken off");
    assert!(found >= 32, "{found} of 40 real improvements found");
}
