//! Simulated measurements: how often the verdict errs when nothing changed, and what it finds when something did.
#![allow(clippy::unwrap_used)]

use pgassay_judge::{
    Design, LOOKS, Margins, POCOCK_ALPHA, Sense, aa_gate, blocks_needed, compare,
    compare_measurements, overall, request_weights, weighted_mean,
};
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::{
    Block, BlockStatement, Connect, Latency, Ledger, Measurement, Mode,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

/// A normal deviate (Box and Muller).
fn normal(random: &mut StdRng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Log-normal noise with one block in twenty disturbed by a neighbour.
fn noise(random: &mut StdRng, sigma: f64) -> f64 {
    let neighbour = if random.random::<f64>() < 0.05 { 1.5 } else { 1.0 };
    (normal(random) * sigma).exp() * neighbour
}

struct Statement {
    id: &'static str,
    mean_ms: f64,
    requests: u64,
}

fn measurement(
    random: &mut StdRng,
    blocks: u32,
    sigma: f64,
    statements: &[Statement],
) -> Measurement {
    let blocks: Vec<Block> = (0..blocks)
        .map(|index| {
            let common = noise(random, sigma);
            let mut own = BTreeMap::new();
            for statement in statements {
                let mean_ms = statement.mean_ms * common * noise(random, sigma / 2.0);
                own.insert(
                    statement.id.to_owned(),
                    BlockStatement { requests: statement.requests, mean_ms },
                );
            }
            let requests: u64 = statements.iter().map(|statement| statement.requests).sum();
            let mean =
                own.values().map(|s| s.mean_ms * s.requests as f64).sum::<f64>() / requests as f64;
            let latency_ms = Latency {
                mean,
                p50: mean,
                p90: mean * 2.0,
                p95: mean * 2.5 * noise(random, sigma),
                p99: mean * 4.0 * noise(random, sigma),
                max: mean * 9.0,
            };
            Block {
                start_s: f64::from(index),
                duration_s: 1.0,
                requests,
                errors: 0,
                latency_ms,
                server_cpu_ms_per_request: Some(mean * 0.5),
                statements: own,
            }
        })
        .collect();
    let requests = blocks.iter().map(|block| block.requests).sum();
    let latency_ms = blocks.first().unwrap().latency_ms;
    Measurement {
        schema: pgassay_model::measurement::SCHEMA.to_owned(),
        generated_at: "2026-11-23T12:00:00Z".parse().unwrap(),
        target: "postgresql://app@db:5432/shop".to_owned(),
        requests,
        errors: 0,
        duration_s: blocks.len() as f64,
        throughput: requests as f64 / blocks.len() as f64,
        mode: Mode {
            clients: Some(8),
            rate: Some(100.0),
            connect: Connect::Reuse,
            protocol: Default::default(),
            speed: None,
        },
        latency_ms,
        ledger_ms: Ledger::default(),
        ledger_sources: BTreeMap::new(),
        statements: Vec::new(),
        scripts: Vec::new(),
        blocks,
        server_cpu_ms_per_request: None,
        pool: None,
        index_scans: BTreeMap::new(),
        notes: Vec::new(),
    }
}

const SHOP: [Statement; 3] = [
    Statement { id: "login", mean_ms: 40.0, requests: 60 },
    Statement { id: "token", mean_ms: 20.0, requests: 30 },
    Statement { id: "touch", mean_ms: 0.2, requests: 10 },
];

fn judged(before: &Measurement, after: &Measurement) -> (Vec<Comparison>, Verdict, String) {
    let margins = Margins::default();
    let comparisons = compare_measurements(before, after, Design::BeforeAfter, &margins, 0.95);
    let (verdict, reason) = overall(&comparisons, &margins);
    (comparisons, verdict, reason)
}

fn metric<'a>(comparisons: &'a [Comparison], name: &str) -> &'a Comparison {
    comparisons.iter().find(|comparison| comparison.metric == name).unwrap()
}

#[test]
fn without_a_change_the_interval_excludes_zero_in_at_most_about_one_of_twenty() {
    let mut random = StdRng::seed_from_u64(42);
    let rounds = 2000;
    for design in [Design::BeforeAfter, Design::Paired] {
        for blocks in [8, 16] {
            let mut excluded = 0;
            for _ in 0..rounds {
                let mut draw = || (0..blocks).map(|_| noise(&mut random, 0.3)).collect::<Vec<_>>();
                let (before, after) = (draw(), draw());
                let comparison =
                    compare("m", Sense::LowerIsBetter, &before, &after, design, 0.95, 0.02, 0.03);
                let (low, high) = (comparison.ci_low.unwrap(), comparison.ci_high.unwrap());
                excluded += u32::from(low > 0.0 || high < 0.0);
            }
            let rate = f64::from(excluded) / f64::from(rounds);
            // Independent blocks have no drift to allow for, and the allowance still costs something.
            let expected = if design == Design::Paired { 0.025..0.065 } else { 0.0..0.065 };
            assert!(expected.contains(&rate), "{design:?} {blocks}: {rate}");
        }
    }
}

#[test]
fn without_a_change_hardly_ever_anything_is_called_improved() {
    let mut random = StdRng::seed_from_u64(1);
    let mut improved = 0;
    let rounds = 400;
    for _ in 0..rounds {
        let before = measurement(&mut random, 16, 0.15, &SHOP);
        let after = measurement(&mut random, 16, 0.15, &SHOP);
        improved += u32::from(judged(&before, &after).1 == Verdict::Improved);
    }
    assert!(improved <= rounds / 40, "{improved} of {rounds}");
}

#[test]
fn three_looks_with_pocock_bounds_err_at_most_once_in_twenty() {
    let mut random = StdRng::seed_from_u64(7);
    let rounds = 1000;
    let largest = *LOOKS.iter().max().unwrap() as usize;
    let mut excluded = 0;
    for _ in 0..rounds {
        let mut draw = || (0..largest).map(|_| noise(&mut random, 0.3)).collect::<Vec<_>>();
        let (before, after) = (draw(), draw());
        excluded += u32::from(LOOKS.iter().any(|look| {
            let take = *look as usize;
            let comparison = compare(
                "m",
                Sense::LowerIsBetter,
                &before[..take],
                &after[..take],
                Design::Paired,
                1.0 - POCOCK_ALPHA,
                0.02,
                0.03,
            );
            comparison.ci_low.unwrap() > 0.0 || comparison.ci_high.unwrap() < 0.0
        }));
    }
    assert!(excluded <= rounds * 65 / 1000, "{excluded} of {rounds}");
}

#[test]
fn a_change_of_the_detectable_size_is_found_four_times_in_five() {
    let mut random = StdRng::seed_from_u64(3);
    let rounds = 500;
    let mut pairs = |factor: f64| {
        let (mut found, mut stated) = (0, 0.0);
        for _ in 0..rounds {
            let before: Vec<f64> = (0..16).map(|_| (0.1 * normal(&mut random)).exp()).collect();
            let after: Vec<f64> =
                (0..16).map(|_| (0.1 * normal(&mut random)).exp() / factor).collect();
            let comparison = compare(
                "m",
                Sense::LowerIsBetter,
                &before,
                &after,
                Design::Paired,
                0.95,
                0.02,
                0.03,
            );
            found += u32::from(comparison.verdict == Verdict::Improved);
            stated += comparison.detectable.unwrap() / f64::from(rounds);
        }
        (f64::from(found) / f64::from(rounds), stated)
    };
    let (_, stated) = pairs(1.0);
    let (power, again) = pairs(1.0 + stated);
    assert!((0.75..0.90).contains(&power), "{power} at {stated}");
    assert!((stated - again).abs() < 0.01);
}

/// Noise that wanders: each block keeps most of what the one before had.
fn wandering(random: &mut StdRng, state: &mut f64) -> f64 {
    *state = 0.8 * *state + 0.06 * normal(random);
    (*state + 0.03 * normal(random)).exp()
}

#[test]
fn on_a_machine_whose_speed_wanders_before_and_after_are_seldom_called_different() {
    let mut random = StdRng::seed_from_u64(5);
    let rounds = 2000;
    let mut state = 0.0;
    let (mut called, mut plain) = (0, 0);
    for _ in 0..rounds {
        let mut draw =
            || -> Vec<f64> { (0..16).map(|_| wandering(&mut random, &mut state)).collect() };
        let (before, after) = (draw(), draw());
        let excluded = |design| {
            let comparison =
                compare("m", Sense::LowerIsBetter, &before, &after, design, 0.95, 0.02, 0.03);
            u32::from(comparison.ci_low.unwrap() > 0.0 || comparison.ci_high.unwrap() < 0.0)
        };
        called += excluded(Design::BeforeAfter);
        plain += excluded(Design::Halves);
    }
    assert!(called <= rounds / 12, "{called} of {rounds}");
    assert!(plain > rounds / 3, "without the allowance: {plain} of {rounds}");
}

#[test]
fn three_looks_at_blocks_after_a_change_err_at_most_once_in_twenty_though_the_speed_wanders() {
    let mut random = StdRng::seed_from_u64(11);
    let rounds = 400;
    let mut state = 0.0;
    let mut called = 0;
    for _ in 0..rounds {
        let mut draw =
            || -> Vec<f64> { (0..32).map(|_| wandering(&mut random, &mut state)).collect() };
        let (before, after) = (draw(), draw());
        called += u32::from(LOOKS.iter().any(|look| {
            let after = &after[..*look as usize];
            let level = 1.0 - POCOCK_ALPHA;
            let sense = Sense::LowerIsBetter;
            let verdict =
                compare("m", sense, &before, after, Design::BeforeAfter, level, 0.02, 0.03).verdict;
            matches!(verdict, Verdict::Improved | Verdict::Regressed)
        }));
    }
    assert!(called <= rounds / 20, "{called} of {rounds}");
}

#[test]
fn before_and_after_find_what_they_say_they_can() {
    let mut random = StdRng::seed_from_u64(9);
    let (mut able, mut found) = (0, 0);
    for _ in 0..1000 {
        let mut draw = |factor: f64| -> Vec<f64> {
            (0..16).map(|_| (0.1 * normal(&mut random)).exp() * factor).collect()
        };
        let (before, after) = (draw(1.0), draw(0.82));
        let comparison = compare(
            "m",
            Sense::LowerIsBetter,
            &before,
            &after,
            Design::BeforeAfter,
            0.95,
            0.02,
            0.03,
        );
        if comparison.detectable.unwrap() < 1.0 / 0.82 - 1.0 {
            able += 1;
            found += u32::from(comparison.verdict == Verdict::Improved);
        }
    }
    assert!(able > 300, "{able}");
    assert!(f64::from(found) / f64::from(able) > 0.8, "{found} of {able}");
}

#[test]
fn an_index_that_helps_is_an_improvement_with_every_metric_told() {
    let mut random = StdRng::seed_from_u64(5);
    let before = measurement(&mut random, 16, 0.15, &SHOP);
    let faster = [
        Statement { id: "login", mean_ms: 0.4, requests: 60 },
        Statement { id: "token", mean_ms: 0.3, requests: 30 },
        Statement { id: "touch", mean_ms: 0.23, requests: 10 },
    ];
    let after = measurement(&mut random, 16, 0.15, &faster);
    let (comparisons, verdict, reason) = judged(&before, &after);
    assert_eq!(verdict, Verdict::Improved, "{reason}");
    let names: Vec<&str> =
        comparisons.iter().map(|comparison| comparison.metric.as_str()).collect();
    assert_eq!(
        names,
        [
            "latency_mean_ms",
            "latency_p50_ms",
            "latency_p95_ms",
            "latency_p99_ms",
            "throughput",
            "server_cpu_ms_per_request",
            "statement:login",
            "statement:token"
        ],
        "a statement with less than 1 % of the time is no guard"
    );
    assert!(metric(&comparisons, "latency_mean_ms").ci_high.unwrap() < -0.9);
    assert!(metric(&comparisons, "statement:login").confidence >= 0.95);
}

#[test]
fn a_statement_made_slower_makes_the_whole_a_regression() {
    let mut random = StdRng::seed_from_u64(6);
    let before = measurement(&mut random, 16, 0.1, &SHOP);
    let mixed = [
        Statement { id: "login", mean_ms: 10.0, requests: 60 },
        Statement { id: "token", mean_ms: 35.0, requests: 30 },
        Statement { id: "touch", mean_ms: 0.2, requests: 10 },
    ];
    let after = measurement(&mut random, 16, 0.1, &mixed);
    let (comparisons, verdict, reason) = judged(&before, &after);
    assert_eq!(metric(&comparisons, "latency_mean_ms").verdict, Verdict::Improved);
    assert_eq!(verdict, Verdict::Regressed);
    assert!(reason.contains("statement token"), "{reason}");
}

#[test]
fn a_shift_in_the_mix_of_statements_is_no_effect() {
    let mut random = StdRng::seed_from_u64(8);
    let before = measurement(&mut random, 16, 0.02, &SHOP);
    let other_mix = [
        Statement { id: "login", mean_ms: 40.0, requests: 20 },
        Statement { id: "token", mean_ms: 20.0, requests: 70 },
        Statement { id: "touch", mean_ms: 0.2, requests: 10 },
    ];
    let after = measurement(&mut random, 16, 0.02, &other_mix);
    let (comparisons, ..) = judged(&before, &after);
    assert!(metric(&comparisons, "latency_mean_ms").change.unwrap().abs() < 0.03);
    let weights = request_weights(&before);
    assert!((weights["login"] - 0.6).abs() < 1e-9);
    assert!(weighted_mean(&after.blocks[0], &weights).unwrap() > after.blocks[0].latency_ms.mean);
    assert_eq!(weighted_mean(&after.blocks[0], &BTreeMap::from([("x".to_owned(), 1.0)])), None);
}

#[test]
fn a_block_without_the_slow_statement_does_not_look_fast() {
    let mut random = StdRng::seed_from_u64(9);
    let before = measurement(&mut random, 16, 0.02, &SHOP);
    let mut after = measurement(&mut random, 16, 0.02, &SHOP);
    for block in after.blocks.iter_mut().step_by(2) {
        block.statements.remove("login");
    }
    let (comparisons, ..) = judged(&before, &after);
    assert!(metric(&comparisons, "latency_mean_ms").change.unwrap().abs() < 0.06);
}

#[test]
fn new_errors_forbid_an_improvement_and_many_are_a_regression() {
    let mut random = StdRng::seed_from_u64(10);
    let before = measurement(&mut random, 16, 0.05, &SHOP);
    let faster = SHOP.map(|statement| Statement { mean_ms: statement.mean_ms / 2.0, ..statement });
    let mut after = measurement(&mut random, 16, 0.05, &faster);
    assert_eq!(judged(&before, &after).1, Verdict::Improved);
    after.errors = 1;
    assert_eq!(judged(&before, &after).1, Verdict::Inconclusive);
    after.errors = 40;
    let (_, verdict, reason) = judged(&before, &after);
    assert_eq!(verdict, Verdict::Regressed);
    assert!(reason.contains("errors"), "{reason}");
}

#[test]
fn what_noise_hides_is_inconclusive_and_says_how_many_blocks_it_would_take() {
    let mut random = StdRng::seed_from_u64(12);
    let before = measurement(&mut random, 8, 0.5, &SHOP);
    let after = measurement(&mut random, 8, 0.5, &SHOP);
    let (comparisons, verdict, reason) = judged(&before, &after);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reason.contains("would take about"), "{reason}");
    assert!(blocks_needed(metric(&comparisons, "latency_mean_ms"), 0.03).unwrap() > 500);
}

#[test]
fn measurements_without_blocks_are_inconclusive_and_keep_their_metrics() {
    let mut random = StdRng::seed_from_u64(13);
    let empty = measurement(&mut random, 1, 0.5, &SHOP);
    let (comparisons, verdict, reason) = judged(&empty, &empty);
    assert_eq!(verdict, Verdict::Inconclusive, "{reason}");
    assert!(metric(&comparisons, "server_cpu_ms_per_request").ci_low.is_none());
    assert_eq!(overall(&[], &Margins::default()).0, Verdict::Inconclusive);
}

#[test]
fn the_gate_passes_even_blocks_and_finds_a_drift() {
    let mut random = StdRng::seed_from_u64(14);
    let mut drifting = measurement(&mut random, 16, 0.05, &SHOP);
    let gate = aa_gate(&drifting.blocks);
    assert!(gate.passed, "{gate:?}");
    assert!(gate.detectable.unwrap() < gate.comparison.detectable.unwrap());
    for block in drifting.blocks.iter_mut().skip(8) {
        for statement in block.statements.values_mut() {
            statement.mean_ms *= 1.5;
        }
    }
    assert!(!aa_gate(&drifting.blocks).passed);
    assert!(aa_gate(&[]).passed);
}

#[test]
fn a_quantile_beyond_which_a_block_holds_no_request_is_called_its_slowest() {
    let mut random = StdRng::seed_from_u64(15);
    let slowest = |requests: u64, random: &mut StdRng| -> Vec<String> {
        let statement = [Statement { id: "login", mean_ms: 40.0, requests }];
        let (before, after) =
            (measurement(random, 8, 0.05, &statement), measurement(random, 8, 0.05, &statement));
        let margins = Margins::default();
        compare_measurements(&before, &after, Design::BeforeAfter, &margins, 0.95)
            .into_iter()
            .filter(|entry| entry.method.contains("its slowest"))
            .map(|entry| entry.metric)
            .collect()
    };
    assert_eq!(slowest(14, &mut random), ["latency_p95_ms", "latency_p99_ms"]);
    assert_eq!(slowest(50, &mut random), ["latency_p99_ms"]);
    assert!(slowest(100, &mut random).is_empty());
}
