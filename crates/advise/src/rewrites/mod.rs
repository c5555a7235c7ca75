//! Statements that the application could ask in another form: by rules on their parse trees, by what the server
//! counted of them, and by the order in which sessions asked them.
//!
//! The planner is asked what both forms cost, and what it does not find cheaper is left out, unless the rewrite is for
//! an index that is to come, or changes what the application does.

mod by_counters;
mod series;

use crate::load::{Counted, Load};
use crate::reachable::NEGLIGIBLE;
use crate::shapes::Shapes;
use crate::words;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::plan::Recommendation;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::what_if::{Hypothesis, WhatIf};
use pgassay_model::workload::{Workload, WorkloadStatement};
use pgassay_sql::{Relations, Rewrite, Rule};

/// The planner's own fuzz when it compares paths (STD_FUZZ_FACTOR 1.01 in pathnode.c): less is no gain.
const FUZZ: f64 = 0.99;

/// A statement in another form.
#[derive(Debug, Clone, PartialEq)]
pub struct StatementRewrite {
    /// Id of the statement.
    pub statement: String,
    /// Which rule.
    pub rule: Rule,
    /// As it is asked.
    pub before: String,
    /// The other form; None where there is none and an index, or the application, is to change.
    pub after: Option<String>,
    /// What has to hold for both to return the same rows; None: it is proven.
    pub check: Option<String>,
    /// Why.
    pub reason: String,
    /// The planner's cost of both; None where it was not, or could not be asked.
    pub costs: Option<(f64, f64)>,
}

/// What is known of the server, found by name or statement.
struct Known<'a> {
    snapshot: &'a Snapshot,
    relations: Relations<'a>,
    /// None where pg_stat_statements isn't readable.
    counted: Option<Counted<'a>>,
}

impl<'a> Known<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        Known {
            snapshot,
            relations: Relations::of(snapshot),
            counted: snapshot.statements.as_deref().map(Counted::of),
        }
    }
}

impl StatementRewrite {
    fn of(statement: &WorkloadStatement, rewrite: Rewrite) -> Self {
        StatementRewrite {
            statement: statement.id.clone(),
            rule: rewrite.rule,
            before: statement.sql.clone(),
            after: Some(rewrite.after),
            check: rewrite.check,
            reason: rewrite.reason,
            costs: None,
        }
    }
}

/// All of them, in the order of the statements.
pub(crate) fn find(
    snapshot: &Snapshot,
    workload: &Workload,
    shapes: &Shapes<'_>,
    what_if: &mut dyn WhatIf,
    interrupt: &Interrupt,
) -> Vec<StatementRewrite> {
    let known = Known::of(snapshot);
    let mut found = Vec::new();
    for statement in &workload.statements {
        if interrupt.requested() {
            break;
        }
        let other =
            pgassay_sql::rewrites_of_calls(&statement.sql, &known.relations, seen(statement));
        for rewrite in other.unwrap_or_default() {
            let mut rewrite = StatementRewrite::of(statement, rewrite);
            rewrite.costs = costs(statement, &rewrite, what_if);
            if worth(&rewrite) {
                say_what_it_trades(&mut rewrite);
                found.push(rewrite);
            }
        }
        if let Some(shape) = shapes.of_id(&statement.id) {
            found.extend(by_counters::order_by_limit(&known, statement, shape, what_if));
            found.extend(by_counters::leading_wildcard(&known, statement, shape));
            found.extend(by_counters::select_star(&known, statement, shape));
        }
    }
    found.extend(series::one_by_one(&known.relations, workload));
    found
}

/// What both forms cost today, where the other one has no parameters of its own.
fn costs(
    statement: &WorkloadStatement,
    rewrite: &StatementRewrite,
    what_if: &mut dyn WhatIf,
) -> Option<(f64, f64)> {
    let after = rewrite.after.as_ref()?;
    if rewrite.rule == Rule::OffsetPages {
        return None;
    }
    let other = other_form(statement, rewrite.rule, after)?;
    let none = Hypothesis::default();
    let before = what_if.cost(statement, &none).ok()?.total_cost;
    let after = what_if.cost(&other, &none).ok()?.total_cost;
    Some((before, after))
}

/// What calls of the application had for values. Those that were drawn from the relations are no evidence of it.
fn seen(statement: &WorkloadStatement) -> &[Vec<Option<String>>] {
    let source = statement.parameter_source.as_str();
    match source.starts_with("log") || source == "given" {
        true => &statement.parameters,
        false => &[],
    }
}

/// The other form as the planner can be asked about it: without the numbers of parameters that it has no more.
fn other_form(statement: &WorkloadStatement, rule: Rule, after: &str) -> Option<WorkloadStatement> {
    let (sql, numbers) = pgassay_sql::renumbered(after).ok()?;
    let left = |set: &Vec<Option<String>>| -> Option<Vec<Option<String>>> {
        numbers.iter().map(|number| set.get(number.checked_sub(1)?).cloned()).collect()
    };
    Some(WorkloadStatement {
        id: format!("{} ({})", statement.id, rule.name()),
        sql,
        parameters: statement.parameters.iter().map(left).collect::<Option<_>>()?,
        ..statement.clone()
    })
}

fn cheaper(rewrite: &StatementRewrite) -> bool {
    rewrite.costs.is_some_and(|(before, after)| after < before * FUZZ)
}

/// What is not cheaper today is proposed for another reason, which is to be said.
fn say_what_it_trades(rewrite: &mut StatementRewrite) {
    if rewrite.costs.is_none() || cheaper(rewrite) {
        return;
    }
    rewrite.reason.push_str(match rewrite.rule {
        rule if rule.lets_an_index_serve() => {
            "; the planner finds it no cheaper today: it pays with an index on the column"
        }
        _ => "; the planner finds it no cheaper today: what it changes is what NULLs do",
    });
}

fn worth(rewrite: &StatementRewrite) -> bool {
    let cheaper = cheaper(rewrite);
    match rewrite.rule {
        rule if rule.lets_an_index_serve() => true,
        Rule::OffsetPages => true,
        // Rows that are NULL make NOT IN return nothing, which is seldom meant.
        Rule::NotIn => cheaper || rewrite.check.is_some(),
        _ => cheaper,
    }
}

/// Those of statements with a real share of the load, for people.
pub(crate) fn recommendations(found: &[StatementRewrite], load: &Load) -> Vec<Recommendation> {
    found
        .iter()
        // A pattern has a recommendation of its own.
        .filter(|rewrite| rewrite.rule != Rule::LeadingWildcard)
        .filter_map(|rewrite| {
            let share = load.get(&rewrite.statement)?.share;
            (share >= NEGLIGIBLE).then(|| Recommendation {
                title: format!("ask {} in another form ({})", rewrite.statement, rewrite.rule.name()),
                text: text(rewrite),
                expected: format!("at most −{} of the response time", words::share(share)),
                source: match rewrite.costs {
                    Some((before, after)) => format!(
                        "the statement's share of the load; the planner's cost {before:.1} → {after:.1}"
                    ),
                    None => "the statement's share of the load".to_owned(),
                },
            })
        })
        .collect()
}

fn text(rewrite: &StatementRewrite) -> String {
    let mut text = rewrite.reason.clone();
    if let Some(after) = &rewrite.after {
        text.push_str(&format!(": {after}"));
    }
    text.push_str(&match (&rewrite.check, &rewrite.after) {
        (Some(check), _) => format!(" (check: {check})"),
        (None, Some(_)) => " (the same rows, proven from the schema)".to_owned(),
        (None, None) => String::new(),
    });
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::fixture;
    use pgassay_model::snapshot::StatementStatistics;
    use std::time::{Duration, Instant};

    fn rewrites(snapshot: &Snapshot, workload: &Workload) -> Vec<StatementRewrite> {
        let shapes = Shapes::of(workload, snapshot);
        let mut what_if = fixture::FakeWhatIf::default();
        find(snapshot, workload, &shapes, &mut what_if, &Interrupt::default())
    }

    #[test]
    fn an_index_of_a_partitioned_table_is_built_by_partitions_under_the_advisors_name() {
        let sql = "SELECT id FROM users WHERE email LIKE '%example%'";
        let workload = fixture::workload(&[("like", sql)]);
        let mut snapshot = fixture::snapshot();
        let plain = rewrites(&snapshot, &workload);
        assert!(
            plain[0].reason.contains(
                "CREATE INDEX CONCURRENTLY users_email_gin_idx ON public.users USING gin (email gin_trgm_ops)"
            ),
            "{plain:?}"
        );
        snapshot.relations[0].kind = 'p';
        let partitioned = rewrites(&snapshot, &workload);
        let reason = &partitioned[0].reason;
        assert!(
            reason.contains("CREATE INDEX users_email_gin_idx ON ONLY public.users USING gin (email gin_trgm_ops)")
                && reason.contains("ALTER INDEX public.users_email_gin_idx ATTACH PARTITION"),
            "{reason}"
        );
        assert!(!reason.contains("CONCURRENTLY users"), "{reason}");
    }

    /// So many statements on as many relations, all counted, none with a queryid.
    fn takes(number: usize) -> Duration {
        let mut snapshot = fixture::snapshot();
        let relations = (0..number).map(|place| {
            let mut relation = fixture::users();
            relation.name.name = format!("users_{place}");
            relation
        });
        snapshot.relations = relations.collect();
        let texts: Vec<(String, String)> = (0..number)
            .map(|place| {
                let sql = format!(
                    "SELECT id FROM users_{place} WHERE email = $1 ORDER BY username LIMIT 10"
                );
                (format!("s{place}"), sql)
            })
            .collect();
        let statistics = texts.iter().map(|(_, sql)| StatementStatistics {
            query: sql.clone(),
            calls: 10,
            rows: 10,
            shared_hit: 10,
            ..StatementStatistics::default()
        });
        snapshot.statements = Some(statistics.collect());
        let texts: Vec<(&str, &str)> =
            texts.iter().map(|(id, sql)| (id.as_str(), sql.as_str())).collect();
        let workload = fixture::workload(&texts);
        let began = Instant::now();
        assert_eq!(rewrites(&snapshot, &workload), []);
        began.elapsed()
    }

    #[test]
    fn finding_takes_time_in_proportion_to_the_statements() {
        let least = |number| (0..2).map(|_| takes(number)).min().unwrap_or_default();
        let (few, many) = (least(50), least(1_600));
        eprintln!("50 statements: {few:?}, 1,600: {many:?}");
        // 32 times as many: 1,024 times as long if each were compared with all.
        assert!(many < few * 128, "{few:?} → {many:?}");
    }
}
