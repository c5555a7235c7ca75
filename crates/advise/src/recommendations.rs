//! What is for people to do: the application, the schema, caching, monitoring; each only where there is evidence.

use crate::evidence::Evidence;
use crate::parameters;
use crate::reachable::{Lever, NEGLIGIBLE};
use crate::{duplicates, words};
use pgassay_model::Timestamp;
use pgassay_model::change::Change;
use pgassay_model::measurement::Connect;
use pgassay_model::plan::{PlannedChange, Recommendation};
use pgassay_model::relation::Relation;
use pgassay_model::units::{Bytes, Ms};
use pgassay_model::workload::WorkloadStatement;
use pgassay_sql::{Operator, StatementKind, StatementShape, Subject};

/// Share of the load from which caching a statement is worth the trouble of keeping the cache right.
const WORTH_CACHING: f64 = 0.10;
/// Mean below which a cache, being a network away itself, gains nothing: a reused round trip through PgBouncer
/// takes 0.05 ms, a cache no less (design "pooling", yardsticks).
const CHEAP_MS: f64 = 1.0;
/// Reads for each write of the relations read, below which entries are dropped before they are used again.
const READS_PER_WRITE: f64 = 10.0;
/// Size from which dropping a partition instead of deleting rows pays for partitioning.
const WORTH_PARTITIONING: Bytes = Bytes(1 << 30);

/// All recommendations, those with the largest effect first.
pub(crate) fn recommend(
    evidence: &Evidence<'_>,
    changes: &[PlannedChange],
    now: Timestamp,
) -> Vec<Recommendation> {
    let mut all = Vec::new();
    all.extend(reuse(evidence));
    all.extend(prepare(evidence));
    all.extend(caching(evidence, changes));
    all.extend(patterns(evidence));
    all.extend(partitioning(evidence));
    all.extend(pool_mode(evidence));
    all.extend(statement_timeout(evidence));
    all.extend(jit(evidence));
    all.extend(vacuum(evidence));
    all.extend(duplicates::recommendations(evidence, now));
    all.extend(observing(evidence));
    all.extend(watching(changes));
    all
}

fn advice(
    title: impl Into<String>,
    text: impl Into<String>,
    expected: impl Into<String>,
    source: &str,
) -> Recommendation {
    Recommendation {
        title: title.into(),
        text: text.into(),
        expected: expected.into(),
        source: source.to_owned(),
    }
}

fn reuse(evidence: &Evidence<'_>) -> Option<Recommendation> {
    let measurement = evidence.measurement?;
    let part = evidence.levers.part(Lever::Connections).filter(|part| *part >= NEGLIGIBLE)?;
    let share = evidence.levers.at_most(Lever::Connections)?;
    (measurement.mode.connect == Connect::PerRequest).then(|| {
        let total = measurement.ledger_ms.total;
        advice(
            "reuse connections in the application",
            format!(
                "Opening a connection takes {} of {}. Keep a small pool of open connections in each process of the application (persistent connections, or its driver's pool) and let PgBouncer share the servers among them.",
                Ms(part * total),
                Ms(total)
            ),
            format!("at most −{} of the response time", words::share(share)),
            "the ledger: connect + tls + auth, and what waits behind them",
        )
    })
}

fn prepare(evidence: &Evidence<'_>) -> Option<Recommendation> {
    let share = evidence.levers.part(Lever::Planning).filter(|share| *share >= 0.10)?;
    let pooled = match evidence.pooler() {
        Some(pooler) if pooler.text("max_prepared_statements").is_none() => {
            " Through PgBouncer in transaction mode that takes version 1.21 or later (max_prepared_statements)."
        }
        _ => "",
    };
    Some(advice(
        "prepare statements that are asked often",
        format!(
            "A prepared statement is parsed once, and after five executions it may be planned once.{pooled}"
        ),
        format!("at most −{} of the response time", words::share(share)),
        "the ledger: parse_plan",
    ))
}

/// Repeated reads that take real time. A look-up by a unique key gains nothing: it costs what the cache costs.
fn caching(evidence: &Evidence<'_>, changes: &[PlannedChange]) -> Vec<Recommendation> {
    let execution = evidence.levers.part(Lever::Execution);
    evidence
        .shapes
        .iter()
        .filter_map(|(statement, shape)| {
            let load = evidence.load.get(&statement.id)?;
            let share = load.share.min(execution.unwrap_or(1.0));
            let indexed = changes.iter().any(|change| {
                matches!(change.change, Change::CreateIndex { .. }) && change.statements.contains(&statement.id)
            });
            let reads = reads_per_write(evidence, statement, shape);
            let candidate = !shape.writes
                && shape.kind == StatementKind::Select
                && !indexed
                && share >= WORTH_CACHING
                && load.mean_ms >= CHEAP_MS
                && reads >= READS_PER_WRITE
                && !by_unique_key(evidence, shape);
            candidate.then(|| {
                let ratio = if reads.is_finite() { format!("{reads:.0} reads for each write") } else { "no write in the workload".to_owned() };
                advice(
                    format!("cache the result of {}", statement.id),
                    format!(
                        "It is asked {} times at {} each, with {ratio} of the relations it reads. Cache it in the application for as long as a stale answer is acceptable, and drop the entry where the rows are written. Look-ups by a primary key are no candidates: they cost what a cache costs.",
                        load.requests,
                        Ms(load.mean_ms)
                    ),
                    format!("at most −{} of the response time, times the share of requests that the cache answers", words::share(share)),
                    "the statement's share of the load measured",
                )
            })
        })
        .collect()
}

/// Weight of a statement against the weight of those that write what it reads.
fn reads_per_write(
    evidence: &Evidence<'_>,
    statement: &WorkloadStatement,
    shape: &StatementShape,
) -> f64 {
    let writers: f64 = evidence
        .shapes
        .iter()
        .filter(|(_, other)| {
            other.relations.iter().any(|written| {
                written.target_of_write
                    && shape.relations.iter().any(|read| read.name == written.name)
            })
        })
        .map(|(writer, _)| writer.weight)
        .sum();
    if writers > 0.0 { statement.weight / writers } else { f64::INFINITY }
}

/// Whether every relation read is looked up by all columns of a unique index.
fn by_unique_key(evidence: &Evidence<'_>, shape: &StatementShape) -> bool {
    !shape.relations.is_empty()
        && shape.relations.iter().enumerate().all(|(mention, named)| {
            let equal: Vec<&str> = shape
                .predicates
                .iter()
                .filter(|p| p.relation == mention && p.operator == Operator::Equal && !p.in_or)
                .filter_map(|p| match &p.subject {
                    Subject::Column(column) => Some(column.as_str()),
                    Subject::Expression(_) => None,
                })
                .collect();
            evidence.snapshot.relation(&named.name).is_some_and(|relation| {
                relation.indexes.iter().filter(|index| index.definition.unique && index.valid).any(
                    |index| {
                        index.definition.keys.iter().all(|key| {
                            key.column.as_deref().is_some_and(|column| equal.contains(&column))
                        })
                    },
                )
            })
        })
}

/// Patterns that begin with a wildcard, which no B-tree serves.
fn patterns(evidence: &Evidence<'_>) -> Vec<Recommendation> {
    evidence
        .shapes
        .iter()
        .filter_map(|(statement, shape)| {
            let share = evidence.load.get(&statement.id)?.share;
            let wild = shape.predicates.iter().any(|p| p.operator == Operator::OtherLike);
            (wild && share >= NEGLIGIBLE).then(|| {
                let trigrams = if evidence.snapshot.server.extensions.contains_key("pg_trgm") {
                    "pg_trgm is installed"
                } else {
                    "CREATE EXTENSION pg_trgm"
                };
                advice(
                    format!("search by trigrams or full text in {}", statement.id),
                    format!("Its pattern may begin with a wildcard, which no B-tree serves: a GIN index with gin_trgm_ops ({trigrams}), or full-text search if whole words are meant."),
                    format!("at most −{} of the response time", words::share(share)),
                    "the statement's share of the load measured",
                )
            })
        })
        .collect()
}

/// Rows deleted by age from a large relation: a partition can be dropped at once.
fn partitioning(evidence: &Evidence<'_>) -> Vec<Recommendation> {
    let mut all = Vec::new();
    for relation in &evidence.snapshot.relations {
        let cleanup = evidence.shapes.iter().find_map(|(statement, shape)| {
            let deletes = shape.kind == StatementKind::Delete
                && shape.relations.iter().any(|r| r.target_of_write && r.name == relation.name);
            let column = deletes.then(|| deleted_by_age(relation, shape))??;
            Some((statement, column))
        });
        let Some((statement, column)) = cleanup else { continue };
        if relation.size < WORTH_PARTITIONING || relation.kind != 'r' {
            continue;
        }
        let share = evidence.load.get(&statement.id).map(|load| load.share);
        all.push(advice(
            format!("partition {} by range of {column}", relation.name),
            format!(
                "{} deletes rows by {column} from {} ({} deleted since the statistics were reset). With a partition for each day or week, old rows go by DROP TABLE of a partition: no dead rows, no VACUUM, no WAL for each row. Mind that unique keys must then contain {column}.",
                statement.id, relation.size, relation.activity.deleted
            ),
            share.map_or_else(
                || "deletes and their VACUUM go".to_owned(),
                |share| format!("at most −{} of the response time, and the VACUUM after it", words::share(share)),
            ),
            "the size of the relation and the clean-up in the workload",
        ));
    }
    all
}

/// The time column by a range of which rows are deleted.
fn deleted_by_age<'a>(relation: &Relation, shape: &'a StatementShape) -> Option<&'a str> {
    shape.predicates.iter().find_map(|predicate| {
        let named = shape.relations.get(predicate.relation)?;
        let Subject::Column(column) = &predicate.subject else { return None };
        let time = relation.column(column).is_some_and(|column| {
            column.type_name.starts_with("timestamp") || column.type_name == "date"
        });
        (named.name == relation.name && predicate.operator == Operator::Range && time)
            .then_some(column.as_str())
    })
}

fn pool_mode(evidence: &Evidence<'_>) -> Option<Recommendation> {
    let pooler = evidence.pooler()?;
    let share = evidence.server_wait_share().filter(|share| *share >= NEGLIGIBLE)?;
    // Sharing servers helps only where there were too few of them.
    let open = evidence.measurement?.pool?.max_servers as f64;
    let exhausted = open >= pooler.number("default_pool_size")?;
    (exhausted && pooler.text("pool_mode") == Some("session")).then(|| {
        advice(
            "pool by transaction rather than by session",
            "In session mode a client holds its server until it disconnects. Transaction mode shares it between transactions, but SET, LISTEN, advisory locks, temporary tables and WITH HOLD cursors no longer last longer than a transaction: read the application for them first.",
            format!("at most −{} of the response time", words::share(share)),
            "the ledger: pool_wait",
        )
    })
}

fn statement_timeout(evidence: &Evidence<'_>) -> Option<Recommendation> {
    let timeout = evidence.pooler()?.number("query_timeout").filter(|seconds| *seconds > 0.0)?;
    (evidence.number("statement_timeout") == Some(0.0)).then(|| {
        advice(
            "set statement_timeout for the application's role",
            format!("ALTER ROLE … SET statement_timeout, a little below PgBouncer's query_timeout of {timeout} s: the statement is then ended by PostgreSQL itself, instead of going on without its client."),
            "no orphaned statements; the response time stays",
            "query_timeout and statement_timeout as set",
        )
    })
}

fn jit(evidence: &Evidence<'_>) -> Option<Recommendation> {
    let compiled = parameters::compiled(evidence);
    let share =
        evidence.load.share(compiled.iter().copied()).filter(|share| *share >= NEGLIGIBLE)?;
    Some(advice(
        "look at what JIT costs",
        format!(
            "EXPLAIN (ANALYZE) of {}: where \"JIT: … Total\" is a large part of the time, ALTER ROLE … SET jit = off for that role.",
            words::list(&compiled)
        ),
        format!("at most −{} of the response time", words::share(share)),
        "plans that cost more than jit_above_cost",
    ))
}

fn vacuum(evidence: &Evidence<'_>) -> Option<Recommendation> {
    let needed = parameters::vacuum_needs(evidence)?;
    Some(advice(
        "raise maintenance_work_mem, or autovacuum_work_mem",
        format!(
            "To hold the dead rows of the largest relation in one pass, VACUUM needs {needed} (at most 1GB before version 17); every autovacuum worker may take it."
        ),
        "VACUUM reads every index once instead of several times",
        "n_dead_tup × 6 bytes",
    ))
}

/// What would make the next plan better.
fn observing(evidence: &Evidence<'_>) -> Vec<Recommendation> {
    let mut all = Vec::new();
    if evidence.snapshot.statements.is_none() {
        all.push(advice(
            "make pg_stat_statements readable",
            "shared_preload_libraries = 'pg_stat_statements' (a restart), CREATE EXTENSION pg_stat_statements, GRANT pg_read_all_stats to this role.",
            "execution can be told apart from the rest",
            "it is not readable now",
        ));
    }
    let reads = evidence.page_reads();
    if !evidence.on("track_io_timing") && reads.read > 0 && reads.hit_share() < 0.99 {
        all.push(advice(
            "switch track_io_timing on",
            "Measure the clock with pg_test_timing first; where a reading takes less than 100 ns, ALTER SYSTEM SET track_io_timing = on.",
            "what pages read from outside shared_buffers cost becomes known",
            "pages were read, and their time is unknown",
        ));
    }
    all
}

/// The counters that tell whether what is applied keeps working.
fn watching(changes: &[PlannedChange]) -> Option<Recommendation> {
    let mut counters: Vec<&str> = Vec::new();
    for change in changes {
        if !counters.contains(&change.mechanism.as_str()) {
            counters.push(&change.mechanism);
        }
    }
    (!counters.is_empty()).then(|| {
        advice(
            "watch what was changed",
            format!(
                "Look at these from time to time, and after every release of the application: {}.",
                counters.join("; ")
            ),
            "a change that stops working is seen",
            "the mechanism of each change",
        )
    })
}
