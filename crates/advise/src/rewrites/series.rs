//! N + 1: sessions that ask the same statement for one key after the other, after one that returned the keys.

use super::StatementRewrite;
use pgassay_model::workload::{RecordedSession, Workload};
use pgassay_sql::Relations;
use std::collections::{BTreeMap, HashSet};

/// As many in a row, with different values, are a loop of the application.
const A_LOOP: usize = 5;
/// Microseconds between two requests within which they belong together: a loop does not wait for a person.
const TOGETHER_US: u64 = 1_000_000;

/// The runs of one statement.
#[derive(Default)]
struct Series {
    runs: u64,
    requests: u64,
    longest: usize,
    /// What was asked before, and how often.
    after: BTreeMap<usize, u64>,
}

/// Statements that sessions ask in such runs, as one look-up for all keys.
pub(super) fn one_by_one(relations: &Relations<'_>, workload: &Workload) -> Vec<StatementRewrite> {
    let mut all: BTreeMap<usize, Series> = BTreeMap::new();
    for session in &workload.sessions {
        for run in runs(session) {
            let series = all.entry(run.statement).or_default();
            series.runs += 1;
            series.requests += run.length as u64;
            series.longest = series.longest.max(run.length);
            if let Some(before) = run.before {
                *series.after.entry(before).or_default() += 1;
            }
        }
    }
    let id = |place: usize| workload.statements.get(place).map(|statement| statement.id.as_str());
    all.into_iter()
        .filter_map(|(place, series)| {
            let statement = workload.statements.get(place)?;
            let many = pgassay_sql::for_many_keys(&statement.sql, relations)?;
            let mut rewrite = StatementRewrite::of(statement, many);
            let before = series.after.iter().max_by_key(|(_, runs)| **runs);
            let after = before
                .and_then(|(before, _)| id(*before))
                .map_or_else(String::new, |before| format!(", mostly after {before}"));
            rewrite.reason = format!(
                "asked {} times in {} runs of up to {} in a row, each with another key{after}; {}",
                series.requests, series.runs, series.longest, rewrite.reason
            );
            Some(rewrite)
        })
        .collect()
}

struct Run {
    statement: usize,
    length: usize,
    before: Option<usize>,
}

/// Runs of one statement with different values, at least [`A_LOOP`] long.
fn runs(session: &RecordedSession) -> Vec<Run> {
    let mut found = Vec::new();
    let mut before = None;
    let mut rest = session.requests.as_slice();
    while let Some(first) = rest.first() {
        let mut last_at = first.at_us;
        let mut values = HashSet::new();
        let length = rest
            .iter()
            .take_while(|request| {
                let near = request.at_us.saturating_sub(last_at) <= TOGETHER_US;
                last_at = request.at_us;
                let same = near && request.statement == first.statement;
                if same {
                    values.insert(request.parameters);
                }
                same
            })
            .count()
            .max(1);
        if length >= A_LOOP && values.len() > length / 2 {
            found.push(Run { statement: first.statement, length, before });
        }
        before = Some(first.statement);
        rest = rest.get(length..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::fixture;
    use pgassay_model::workload::RecordedRequest;

    fn session(requests: &[(usize, usize)]) -> RecordedSession {
        let request = |(at, (statement, parameters)): (usize, &(usize, usize))| RecordedRequest {
            at_us: at as u64 * 1000,
            statement: *statement,
            parameters: *parameters,
            took_us: None,
            transaction: 0,
            rolled_back: false,
        };
        RecordedSession {
            id: "s".into(),
            requests: requests.iter().enumerate().map(request).collect(),
        }
    }

    #[test]
    fn a_loop_over_keys_is_told_from_the_same_question_asked_again() {
        let mut workload = fixture::workload(&[
            ("list", "SELECT id FROM users WHERE email = $1"),
            ("each", "SELECT username FROM users WHERE id = $1"),
        ]);
        let looping = [(0, 0), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (0, 1)];
        workload.sessions = vec![session(&looping)];
        let found = one_by_one(&Relations::of(&fixture::snapshot()), &workload);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].statement, "each");
        assert!(found[0].after.as_deref().unwrap().contains("users.id = ANY($1)"), "{found:?}");
        assert!(
            found[0].reason.contains("asked 6 times in 1 runs of up to 6 in a row"),
            "{found:?}"
        );
        assert!(found[0].reason.contains("mostly after list"), "{found:?}");
        workload.sessions = vec![session(&[(1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0)])];
        assert_eq!(one_by_one(&Relations::of(&fixture::snapshot()), &workload), []);
        workload.sessions = vec![session(&[(1, 0), (0, 0), (1, 1), (0, 1), (1, 2), (1, 3)])];
        assert_eq!(one_by_one(&Relations::of(&fixture::snapshot()), &workload), []);
    }
}
