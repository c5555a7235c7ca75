//! How much of the load each statement of the workload is.

use pgassay_model::measurement::Measurement;
use pgassay_model::snapshot::StatementStatistics;
use pgassay_model::workload::{Workload, WorkloadStatement};
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

/// Statements with their shares of the load.
#[derive(Debug, Clone, Default)]
pub(crate) struct Load {
    by_id: BTreeMap<String, StatementLoad>,
}

/// One statement's part of the load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StatementLoad {
    /// Share (0–1) of the response time of all requests; of the execution time where nothing was measured.
    pub(crate) share: f64,
    /// Share (0–1) of the time spent in execution, all statements together being 1.
    pub(crate) of_execution: f64,
    /// Mean latency in ms; mean execution time where nothing was measured.
    pub(crate) mean_ms: f64,
    /// Requests measured, or calls counted.
    pub(crate) requests: u64,
}

impl Load {
    /// From the measurement where there is one, else from what pg_stat_statements has counted.
    pub(crate) fn of(
        measurement: Option<&Measurement>,
        statistics: Option<&[StatementStatistics]>,
        workload: &Workload,
    ) -> Load {
        match (measurement, statistics) {
            (Some(measurement), _) => Load::measured(measurement),
            (None, Some(statistics)) => Load::counted(statistics, workload),
            (None, None) => Load::default(),
        }
    }

    /// Where execution is most of the response time, what is not execution is taken to be the same for every
    /// statement, so a statement's execution is its mean less that. Where it is not, the difference of two means
    /// is mostly noise, and execution is divided as latency is.
    fn measured(measurement: &Measurement) -> Load {
        let ledger = &measurement.ledger_ms;
        let execute = ledger.execute.unwrap_or(ledger.total);
        let mostly = execute >= ledger.total / 2.0;
        let around = if mostly { (ledger.total - execute).max(0.0) } else { 0.0 };
        let rows = measurement.statements.iter().map(|statement| {
            let answered = statement.requests.saturating_sub(statement.errors);
            let mean = statement.latency_ms.mean;
            let executing = (mean - around).max(0.0);
            (statement.id.clone(), answered, mean, executing)
        });
        Load::shares(rows.collect())
    }

    fn counted(statistics: &[StatementStatistics], workload: &Workload) -> Load {
        let counted = Counted::of(statistics);
        let rows = workload.statements.iter().filter_map(|statement| {
            let (calls, total) = counted
                .rows(statement)
                .iter()
                .fold((0, 0.0), |(calls, ms), row| (calls + row.calls, ms + row.total_exec_ms));
            let mean = (calls > 0).then(|| total / calls as f64)?;
            Some((statement.id.clone(), calls, mean, mean))
        });
        Load::shares(rows.collect())
    }

    fn shares(rows: Vec<(String, u64, f64, f64)>) -> Load {
        let time: f64 = rows.iter().map(|(_, requests, mean, _)| *requests as f64 * mean).sum();
        let execution: f64 = rows.iter().map(|(_, requests, _, ms)| *requests as f64 * ms).sum();
        let part = |requests: u64, ms: f64, all: f64| {
            if all > 0.0 { requests as f64 * ms / all } else { 0.0 }
        };
        let by_id = rows
            .into_iter()
            .map(|(id, requests, mean_ms, executing)| {
                let load = StatementLoad {
                    share: part(requests, mean_ms, time),
                    of_execution: part(requests, executing, execution),
                    mean_ms,
                    requests,
                };
                (id, load)
            })
            .collect();
        Load { by_id }
    }

    /// One statement's load; None where it is unknown.
    pub(crate) fn get(&self, id: &str) -> Option<StatementLoad> {
        self.by_id.get(id).copied()
    }

    /// Share of several statements together; None where no load is known at all.
    pub(crate) fn share<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Option<f64> {
        let sum = ids.into_iter().filter_map(|id| self.get(id)).map(|load| load.share).sum();
        (!self.by_id.is_empty()).then_some(sum)
    }

    /// Statements, the largest share first.
    pub(crate) fn largest_first(&self) -> Vec<(&str, StatementLoad)> {
        let mut all: Vec<_> = self.by_id.iter().map(|(id, load)| (id.as_str(), *load)).collect();
        all.sort_by(|a, b| b.1.share.total_cmp(&a.1.share));
        all
    }
}

/// What pg_stat_statements counted, found by statement at once however many there are.
pub(crate) struct Counted<'a> {
    statistics: &'a [StatementStatistics],
    by_queryid: HashMap<i64, Vec<&'a StatementStatistics>>,
    /// Made for the first statement that has no queryid: it takes a parse of each text.
    by_fingerprint: OnceCell<HashMap<String, Vec<&'a StatementStatistics>>>,
}

impl<'a> Counted<'a> {
    pub(crate) fn of(statistics: &'a [StatementStatistics]) -> Self {
        let mut by_queryid: HashMap<i64, Vec<&StatementStatistics>> = HashMap::new();
        for row in statistics {
            by_queryid.entry(row.queryid).or_default().push(row);
        }
        Counted { statistics, by_queryid, by_fingerprint: OnceCell::new() }
    }

    /// Rows that are this statement: the same queryid, else the same fingerprint.
    pub(crate) fn rows(&self, statement: &WorkloadStatement) -> &[&'a StatementStatistics] {
        let rows = match statement.queryid {
            Some(queryid) => self.by_queryid.get(&queryid),
            None => pgassay_sql::fingerprint(&statement.sql)
                .ok()
                .and_then(|print| self.by_fingerprint().get(&print)),
        };
        rows.map_or(&[], Vec::as_slice)
    }

    fn by_fingerprint(&self) -> &HashMap<String, Vec<&'a StatementStatistics>> {
        self.by_fingerprint.get_or_init(|| {
            let mut all: HashMap<String, Vec<&StatementStatistics>> = HashMap::new();
            for row in self.statistics {
                if let Ok(print) = pgassay_sql::fingerprint(&row.query) {
                    all.entry(print).or_default().push(row);
                }
            }
            all
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::fixture;

    #[test]
    fn what_is_around_execution_is_not_a_statements_own() {
        let mut measurement = fixture::measurement(fixture::ledger(0.0, 8.0));
        measurement.statements = vec![
            fixture::statement_measured("fast", 100, 2.5),
            fixture::statement_measured("slow", 100, 17.5),
        ];
        let load = Load::of(Some(&measurement), None, &fixture::workload(&[]));
        // 10 ms in all, 8 of them execution: 2 ms around each, so 0.5 and 15.5 ms are their own.
        assert!((load.get("slow").unwrap().of_execution - 15.5 / 16.0).abs() < 1e-9);
        assert!((load.get("slow").unwrap().share - 17.5 / 20.0).abs() < 1e-9);
        assert_eq!(load.largest_first()[0].0, "slow");
    }

    #[test]
    fn without_a_measurement_the_statistics_tell() {
        let workload = fixture::workload(&[("a", "SELECT 1 FROM t WHERE x = $1")]);
        let statistics = vec![StatementStatistics {
            query: "SELECT 1 FROM t WHERE x = $1".into(),
            calls: 10,
            total_exec_ms: 50.0,
            ..StatementStatistics::default()
        }];
        let load = Load::of(None, Some(&statistics), &workload);
        assert_eq!(load.get("a").unwrap().mean_ms, 5.0);
        assert_eq!(Load::of(None, None, &workload).share(["a"]), None);
    }
}
