//! Measurements of one state taken one after another, as one: what looks at growing numbers of blocks are made of.

use pgassay_model::measurement::{Latency, Ledger, Measurement, PoolWindow, StatementMeasurement};

/// What the reader must know of quantiles over several parts.
const QUANTILES: &str = "measured in several parts, one for each look: quantiles over all of it are the means of the parts' own, by requests; comparisons rest on the blocks";

/// Puts `later` behind `earlier`, which was measured of the same state.
pub fn join(earlier: Measurement, later: Measurement) -> Measurement {
    let weights = (answered(&earlier), answered(&later));
    let mut joined = Measurement {
        generated_at: later.generated_at,
        requests: earlier.requests + later.requests,
        errors: earlier.errors + later.errors,
        duration_s: earlier.duration_s + later.duration_s,
        latency_ms: latency(earlier.latency_ms, later.latency_ms, weights),
        ledger_ms: ledger(earlier.ledger_ms, later.ledger_ms, weights),
        server_cpu_ms_per_request: both(
            earlier.server_cpu_ms_per_request,
            later.server_cpu_ms_per_request,
            weights,
        ),
        pool: earlier.pool.zip(later.pool).map(|(one, other)| pool(one, other)),
        ..earlier.clone()
    };
    joined.throughput = if joined.duration_s > 0.0 {
        (weights.0 + weights.1) / joined.duration_s
    } else {
        joined.throughput
    };
    for (part, source) in later.ledger_sources {
        joined.ledger_sources.entry(part).or_insert(source);
    }
    add_statements(&mut joined.statements, later.statements);
    add_statements(&mut joined.scripts, later.scripts);
    joined.blocks.extend(later.blocks.into_iter().map(|mut block| {
        block.start_s += earlier.duration_s;
        block
    }));
    for (index, scans) in later.index_scans {
        *joined.index_scans.entry(index).or_default() += scans;
    }
    for note in later.notes.into_iter().chain([QUANTILES.to_owned()]) {
        if !joined.notes.contains(&note) {
            joined.notes.push(note);
        }
    }
    joined
}

/// Requests without error.
fn answered(part: &Measurement) -> f64 {
    part.requests.saturating_sub(part.errors) as f64
}

fn mean(one: f64, other: f64, (first, second): (f64, f64)) -> f64 {
    if first + second > 0.0 { (one * first + other * second) / (first + second) } else { one }
}

/// Unknown where either part is.
fn both(one: Option<f64>, other: Option<f64>, weights: (f64, f64)) -> Option<f64> {
    one.zip(other).map(|(one, other)| mean(one, other, weights))
}

fn latency(one: Latency, other: Latency, weights: (f64, f64)) -> Latency {
    let mean = |value: fn(&Latency) -> f64| mean(value(&one), value(&other), weights);
    Latency {
        mean: mean(|latency| latency.mean),
        p50: mean(|latency| latency.p50),
        p90: mean(|latency| latency.p90),
        p95: mean(|latency| latency.p95),
        p99: mean(|latency| latency.p99),
        max: one.max.max(other.max),
    }
}

fn ledger(one: Ledger, other: Ledger, weights: (f64, f64)) -> Ledger {
    let part = |value: fn(&Ledger) -> Option<f64>| both(value(&one), value(&other), weights);
    Ledger {
        connect: part(|ledger| ledger.connect),
        tls: part(|ledger| ledger.tls),
        auth: part(|ledger| ledger.auth),
        pool_wait: part(|ledger| ledger.pool_wait),
        parse_plan: part(|ledger| ledger.parse_plan),
        execute: part(|ledger| ledger.execute),
        network: part(|ledger| ledger.network),
        total: mean(one.total, other.total, weights),
    }
}

fn pool(one: PoolWindow, other: PoolWindow) -> PoolWindow {
    PoolWindow {
        duration_s: one.duration_s + other.duration_s,
        transactions: one.transactions + other.transactions,
        wait_ms: one.wait_ms + other.wait_ms,
        xact_ms: one.xact_ms + other.xact_ms,
        query_ms: one.query_ms + other.query_ms,
        max_waiting: one.max_waiting.max(other.max_waiting),
        max_servers: one.max_servers.max(other.max_servers),
    }
}

fn add_statements(known: &mut Vec<StatementMeasurement>, later: Vec<StatementMeasurement>) {
    for statement in later {
        let Some(own) = known.iter_mut().find(|own| own.id == statement.id) else {
            known.push(statement);
            continue;
        };
        let answered =
            |part: &StatementMeasurement| part.requests.saturating_sub(part.errors) as f64;
        let weights = (answered(own), answered(&statement));
        own.latency_ms = latency(own.latency_ms, statement.latency_ms, weights);
        own.requests += statement.requests;
        own.errors += statement.errors;
        own.first_error = own.first_error.take().or(statement.first_error);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use pgassay_model::measurement::{Block, Connect, Mode, SCHEMA};

    fn part(requests: u64, mean: f64, execute: Option<f64>) -> Measurement {
        let latency_ms = Latency { mean, p50: mean, p90: mean, p95: mean, p99: mean, max: mean };
        let block = Block {
            start_s: 0.0,
            duration_s: 1.0,
            requests,
            errors: 0,
            latency_ms,
            server_cpu_ms_per_request: None,
            statements: Default::default(),
        };
        Measurement {
            schema: SCHEMA.into(),
            generated_at: jiff::Timestamp::UNIX_EPOCH,
            target: String::new(),
            requests,
            errors: 0,
            duration_s: 1.0,
            throughput: requests as f64,
            mode: Mode {
                clients: Some(8),
                rate: None,
                connect: Connect::Reuse,
                protocol: Default::default(),
                speed: None,
            },
            latency_ms,
            ledger_ms: Ledger { execute, total: mean, ..Ledger::default() },
            ledger_sources: Default::default(),
            statements: vec![StatementMeasurement {
                id: "q".into(),
                sql: "SELECT 1".into(),
                requests,
                errors: 0,
                latency_ms,
                first_error: None,
                not_representative: None,
            }],
            scripts: Vec::new(),
            blocks: vec![block],
            server_cpu_ms_per_request: Some(mean),
            pool: None,
            index_scans: [("public.i".to_owned(), requests)].into(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn sums_are_added_means_weighted_and_blocks_put_behind() {
        let joined = join(part(100, 1.0, Some(0.5)), part(300, 3.0, Some(2.5)));
        assert_eq!((joined.requests, joined.duration_s, joined.throughput), (400, 2.0, 200.0));
        assert_eq!((joined.latency_ms.mean, joined.latency_ms.max), (2.5, 3.0));
        assert_eq!(joined.ledger_ms.execute, Some(2.0));
        assert_eq!(joined.server_cpu_ms_per_request, Some(2.5));
        assert_eq!(joined.statements.len(), 1);
        assert_eq!(joined.statements.first().unwrap().requests, 400);
        assert_eq!(joined.index_scans.get("public.i"), Some(&400));
        let starts: Vec<f64> = joined.blocks.iter().map(|block| block.start_s).collect();
        assert_eq!(starts, [0.0, 1.0]);
        assert!(joined.notes.iter().any(|note| note.contains("quantiles")));
    }

    #[test]
    fn what_one_part_could_not_tell_is_not_told() {
        assert_eq!(join(part(1, 1.0, None), part(1, 1.0, Some(0.5))).ledger_ms.execute, None);
        assert_eq!(join(part(0, 1.0, None), part(0, 1.0, None)).latency_ms.mean, 1.0);
    }
}
