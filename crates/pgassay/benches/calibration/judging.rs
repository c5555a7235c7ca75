//! Judges the blocks as pgassay does, look by look, and tells how often that is right.

use crate::SLOWED;
use crate::taking::{Blocks, Case, SHARE_OF_CAPACITY, Taken, whole};
use pgassay_judge::{
    Design, LOOKS, Margins, POCOCK_ALPHA, compare_measurements, compare_pairs, overall,
};
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::Measurement;
use std::io::{BufRead, BufReader};

/// The most comparisons of a server with itself that may be called different, and of slow-downs, equivalent.
const MOST_WRONG: f64 = 0.05;
/// The least slow-downs that must be found where the stated detectable effect is below them.
const LEAST_FOUND: f64 = 0.8;

/// What one comparison said.
struct Judged {
    overall: Verdict,
    mean: Comparison,
    p95: Comparison,
    /// Blocks of the side that was waited for.
    blocks: usize,
}

/// The comparisons of one case and design, and the true size of the effect.
struct Row {
    case: Case,
    judged: Vec<Judged>,
    /// Relative, of the mean and of p95, from all pairs of the case.
    truth: (f64, f64),
}

/// Prints the report on the blocks of a file.
pub fn report(file: &str, command: &str, version: u32) {
    let lines = BufReader::new(std::fs::File::open(file).unwrap()).lines();
    let mut pairs: Vec<Row> = rows();
    let mut sides: Vec<Row> = rows();
    let mut plain: Vec<Row> = rows();
    // Of a block, milliseconds.
    let mut length = 0.0;
    let mut differences: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); pairs.len()];
    for line in lines {
        let blocks: Blocks = serde_json::from_str(&line.unwrap()).unwrap();
        length = blocks.before[0].blocks[0].duration_s * 1000.0;
        let at = pairs.iter().position(|row| row.case == blocks.case).unwrap();
        match blocks.taken {
            Taken::Pairs => {
                for (before, after) in blocks.before.iter().zip(&blocks.after) {
                    let ratio =
                        |value: fn(&Measurement) -> f64| (value(after) / value(before)).ln();
                    differences[at].0.push(ratio(mean));
                    differences[at].1.push(ratio(p95));
                }
                pairs[at].judged.push(judge(&blocks, Taken::Pairs, Design::Paired));
            }
            Taken::Sides => {
                sides[at].judged.push(judge(&blocks, Taken::Sides, Design::BeforeAfter));
                plain[at].judged.push(judge(&blocks, Taken::Sides, Design::Halves));
            }
        }
    }
    for rows in [&mut pairs, &mut sides, &mut plain] {
        for (row, (mean, p95)) in rows.iter_mut().zip(&differences) {
            row.truth = (median(mean).exp_m1(), median(p95).exp_m1());
        }
    }
    println!("# Calibration of the verdicts\n");
    println!(
        "How often a verdict is right, by real runs on a real server (PostgreSQL {version}): a mix of a function that burns\nCPU (four of five requests) and a look-up by an index, open loop at {:.0} % of the capacity, blocks of {length:.0} ms on\nconnections of their own, a core disturbed at random, and whatever else the machine was doing. Slow-downs are real:\nthe function burns more CPU, so that the mean is slower by about 3, 10 or 30 %, or the index is dropped. Their true size is the median over all pairs\nof blocks of the case. `{command}` makes this file.\n",
        SHARE_OF_CAPACITY * 100.0
    );
    println!(
        "The verdict over all metrics ends as in `pgassay optimize`: at the first look (8, 16, 32 blocks, Pocock bounds) at which\nit is not inconclusive, or at the last; the mean and p95 by themselves likewise. \"Found\" counts those called regressed\namong those whose stated detectable effect, at the look at which they ended, is below the true size.\n"
    );
    section("Pairs of blocks in random order", &pairs);
    section("Blocks before against blocks after: 32 before, looks after", &sides);
    section(
        "The same without the allowance for drift, which pgassay never does; for comparison",
        &plain,
    );
    println!("\n## What was asked, and reached\n");
    println!("| design | metric | requirement | reached |");
    println!("|---|---|---|---|");
    for (name, rows) in [("pairs", &pairs), ("before/after", &sides)] {
        let same: Vec<&Judged> =
            rows.iter().filter(|row| row.case == Case::Same).flat_map(|row| &row.judged).collect();
        let called = |verdict| same.iter().filter(|one| one.overall == verdict).count();
        let (improved, regressed) = (called(Verdict::Improved), called(Verdict::Regressed));
        let most = MOST_WRONG * same.len() as f64;
        println!(
            "| {name} | over all | A/A called improved or regressed: at most 5 % | {}: {improved} and {regressed} of {} |",
            if (improved + regressed) as f64 <= most { "yes" } else { "**no**" },
            same.len()
        );
        for (metric, of) in METRICS {
            requirements(name, metric, of, rows);
        }
    }
}

type Of = fn(&Judged) -> &Comparison;
const METRICS: [(&str, Of); 2] = [("mean", |judged| &judged.mean), ("p95", |judged| &judged.p95)];

fn rows() -> Vec<Row> {
    let cases = [Case::Same].into_iter().chain(SLOWED);
    cases.map(|case| Row { case, judged: Vec::new(), truth: (0.0, 0.0) }).collect()
}

/// Each metric at the first look at which it is decided, and the verdict over all likewise; else at the last.
fn judge(blocks: &Blocks, taken: Taken, design: Design) -> Judged {
    let margins = Margins::default();
    let mut over_all: Option<(Verdict, usize)> = None;
    let (mut mean, mut p95): (Option<Comparison>, Option<Comparison>) = (None, None);
    for look in LOOKS.map(|look| look as usize) {
        let Some(after) = blocks.after.get(..look) else { break };
        let comparison = match taken {
            Taken::Pairs => compare_pairs("calibration", 0.0, &blocks.before[..look], after).0,
            Taken::Sides => compare_measurements(
                &whole(&blocks.before),
                &whole(after),
                design,
                &margins,
                1.0 - POCOCK_ALPHA,
            ),
        };
        if over_all.is_none_or(|(verdict, _)| verdict == Verdict::Inconclusive) {
            over_all = Some((overall(&comparison, &margins).0, look));
        }
        for (metric, last) in [("latency_mean_ms", &mut mean), ("latency_p95_ms", &mut p95)] {
            if last.as_ref().is_none_or(|last| last.verdict == Verdict::Inconclusive) {
                *last = comparison.iter().find(|entry| entry.metric == metric).cloned();
            }
        }
    }
    let (overall, blocks) = over_all.unwrap();
    Judged { overall, mean: mean.unwrap(), p95: p95.unwrap(), blocks }
}

fn mean(measurement: &Measurement) -> f64 {
    measurement.blocks[0].latency_ms.mean
}

fn p95(measurement: &Measurement) -> f64 {
    measurement.blocks[0].latency_ms.p95
}

fn median(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn name(case: Case) -> String {
    match case {
        Case::Same => "none (A/A)".to_owned(),
        Case::Cpu(percent) => format!("about {percent} %, by CPU"),
        Case::IndexDropped => "index dropped".to_owned(),
    }
}

fn section(title: &str, rows: &[Row]) {
    println!("\n## {title}\n");
    println!(
        "| slow-down | comparisons | over all: improved / regressed / equivalent / inconclusive | blocks a side, median |"
    );
    println!("|---|---:|---:|---:|");
    for row in rows {
        let count = |verdict| row.judged.iter().filter(|one| one.overall == verdict).count();
        let mut blocks: Vec<usize> = row.judged.iter().map(|one| one.blocks).collect();
        blocks.sort_unstable();
        println!(
            "| {} | {} | {} / {} / {} / {} | {} |",
            name(row.case),
            row.judged.len(),
            count(Verdict::Improved),
            count(Verdict::Regressed),
            count(Verdict::Equivalent),
            count(Verdict::Inconclusive),
            blocks.get(blocks.len() / 2).copied().unwrap_or(0)
        );
    }
    println!(
        "\n| slow-down | metric | true size | improved / regressed / equivalent / inconclusive | stated detectable effect, median | found, of those able |"
    );
    println!("|---|---|---:|---:|---:|---:|");
    for row in rows {
        for (metric, of) in METRICS {
            let count =
                |verdict| row.judged.iter().filter(|one| of(one).verdict == verdict).count();
            let truth = truth(row, metric);
            let stated: Vec<f64> = row.judged.iter().filter_map(|one| of(one).detectable).collect();
            let (found, able) = found(row, metric, of);
            println!(
                "| {} | {metric} | {} | {} / {} / {} / {} | {} | {} |",
                name(row.case),
                percent(truth),
                count(Verdict::Improved),
                count(Verdict::Regressed),
                count(Verdict::Equivalent),
                count(Verdict::Inconclusive),
                percent(median(&stated)),
                if row.case == Case::Same {
                    "–".to_owned()
                } else {
                    format!("{found} of {able}")
                }
            );
        }
    }
}

fn truth(row: &Row, metric: &str) -> f64 {
    if metric == "mean" { row.truth.0 } else { row.truth.1 }
}

/// How many were found of those whose stated detectable effect is below the true size.
fn found(row: &Row, metric: &str, of: Of) -> (usize, usize) {
    let truth = truth(row, metric);
    let able: Vec<&Judged> = row
        .judged
        .iter()
        .filter(|one| of(one).detectable.is_some_and(|effect| effect < truth))
        .collect();
    (able.iter().filter(|one| of(one).verdict == Verdict::Regressed).count(), able.len())
}

fn requirements(design: &str, metric: &str, of: Of, rows: &[Row]) {
    let answer = |reached: bool| if reached { "yes" } else { "**no**" };
    let share = |part: usize, all: usize| part as f64 / all.max(1) as f64;
    let (same, slowed): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| row.case == Case::Same);
    let all: Vec<&Judged> = same.iter().flat_map(|row| &row.judged).collect();
    let different = all
        .iter()
        .filter(|one| matches!(of(one).verdict, Verdict::Improved | Verdict::Regressed))
        .count();
    println!(
        "| {design} | {metric} | A/A called improved or regressed: at most 5 % | {}: {different} of {} |",
        answer(share(different, all.len()) <= MOST_WRONG),
        all.len()
    );
    let (mut part, mut able) = (0, 0);
    let mut equivalent = 0;
    for row in &slowed {
        let (found, of_those) = found(row, metric, of);
        part += found;
        able += of_those;
        equivalent +=
            row.judged.iter().filter(|one| of(one).verdict == Verdict::Equivalent).count();
    }
    println!(
        "| {design} | {metric} | slow-downs above the stated detectable effect found: at least 80 % | {}: {part} of {able} |",
        if able == 0 { "nothing to tell by" } else { answer(share(part, able) >= LEAST_FOUND) }
    );
    let count = slowed.iter().map(|row| row.judged.len()).sum();
    println!(
        "| {design} | {metric} | slow-downs called equivalent: at most 5 % | {}: {equivalent} of {count} |",
        answer(share(equivalent, count) <= MOST_WRONG)
    );
}
