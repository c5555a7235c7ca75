//! Fills the parameters of a workload's statements, and lists those that can't be used.

use crate::assemble::{Greatest, Material, sets};
use crate::fresh::Fresh;
use crate::plan::{Draw, Group, Plan, plan};
use crate::probe::parameter_types;
use crate::sample::{self, SampledRow, Unreadable};
use crate::{WorkloadError, statistics};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::{FreshParameter, SkippedStatement, Workload, WorkloadStatement};
use pgassay_postgres::Session;
use pgassay_sql::{StatementKind, StatementShape};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeSet;

/// Checks every statement on the server and gives values to those that need some and have none.
///
/// The server must be able to prepare each statement. Values are rows of the relations that parameters are
/// compared with or written to, sampled together; the planner's statistics where rows can't be read. What
/// can't be used moves to `skipped`, with the server's reason and SQLSTATE where it is the server's. The
/// same seed gives the same values as long as the data does not change. Works through a pooler.
///
/// Writes: values for columns under a unique index are new (unless the statement has ON CONFLICT), so a
/// set serves one request; such parameters are named in `fresh`, and the load makes their values anew. Values of
/// a log that were written stay as they were, for a replay, and are named in `fresh` for any other load.
pub async fn fill_parameters(
    workload: &mut Workload,
    session: &Session,
    snapshot: &Snapshot,
    seed: u64,
) -> Result<(), WorkloadError> {
    let mut places = Vec::with_capacity(workload.statements.len());
    for mut statement in std::mem::take(&mut workload.statements) {
        match fill(&mut statement, session, snapshot, seed).await? {
            Ok(()) => {
                places.push(Some(workload.statements.len()));
                workload.statements.push(statement);
            }
            Err(reason) => {
                places.push(None);
                tracing::debug!(statement = statement.id, reason, "statement skipped");
                workload.skipped.push(SkippedStatement { statement: statement.sql, reason });
            }
        }
    }
    move_requests(workload, &places);
    Ok(())
}

/// Recorded requests name statements by their places; those of statements that are gone are left out.
fn move_requests(workload: &mut Workload, places: &[Option<usize>]) {
    for session in &mut workload.sessions {
        session.requests.retain_mut(|request| {
            let Some(place) = places.get(request.statement).copied().flatten() else {
                return false;
            };
            request.statement = place;
            true
        });
    }
    workload.sessions.retain(|session| !session.requests.is_empty());
}

/// Fills one statement; the inner error is why it can't be used.
async fn fill(
    statement: &mut WorkloadStatement,
    session: &Session,
    snapshot: &Snapshot,
    seed: u64,
) -> Result<Result<(), String>, WorkloadError> {
    let shape = match pgassay_sql::shape(&statement.sql, snapshot) {
        Ok(shape) => shape,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if shape.kind == StatementKind::Utility {
        return Ok(Err(
            "only SELECT, VALUES, INSERT, UPDATE, DELETE and MERGE can be replayed".into()
        ));
    }
    let types = match parameter_types(session, &statement.sql).await? {
        Ok(types) => types,
        Err(reason) => return Ok(Err(reason)),
    };
    // What a capture found to write by what it calls stays known.
    statement.writes |= shape.writes;
    if let Some(set) = statement.parameters.iter().find(|set| set.len() != types.len()) {
        return Ok(Err(format!(
            "a set of {} values is given for {} parameters",
            set.len(),
            types.len()
        )));
    }
    if types.is_empty() {
        statement.parameters.clear();
        statement.parameter_source = "none needed".into();
        return Ok(Ok(()));
    }
    if !statement.parameters.is_empty() {
        if statement.parameter_source.is_empty() {
            statement.parameter_source = "given".into();
        }
        // What was written when it was logged is there now, most often.
        if statement.parameter_source.starts_with("log")
            && let Ok(plan) = plan(&shape, &statement.sql, &types, snapshot)
            && let Ok(greatest) = greatest(&plan, session).await?
        {
            statement.fresh = fresh_parameters(&plan, &greatest);
        }
        return Ok(Ok(()));
    }
    let plan = match plan(&shape, &statement.sql, &types, snapshot) {
        Ok(plan) => plan,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut random = StdRng::seed_from_u64(seed ^ number(&statement.sql));
    let (rows, drawn) = match plan_rows(session, snapshot, &plan, seed, &mut random).await? {
        Ok(rows) => rows,
        Err(reason) => return Ok(Err(reason)),
    };
    let greatest = match greatest(&plan, session).await? {
        Ok(greatest) => greatest,
        Err(reason) => return Ok(Err(reason)),
    };
    let material = Material { rows, greatest };
    let Some(parameters) = sets(&plan, &material, &mut random) else {
        return Ok(Err(missing(&plan.groups, &material, &shape)));
    };
    statement.parameters = parameters;
    statement.fresh = fresh_parameters(&plan, &material.greatest);
    statement.parameter_source = std::iter::once(drawn)
        .filter(|drawn| !drawn.is_empty())
        .chain(plan.assumptions.iter().cloned())
        .collect::<Vec<_>>()
        .join("; ");
    Ok(Ok(()))
}

/// The greatest values of the columns whose new ones are numbers.
async fn greatest(
    plan: &Plan,
    session: &Session,
) -> Result<Result<Greatest, String>, WorkloadError> {
    let mut found = Greatest::new();
    for draw in &plan.draws {
        let Draw::Fresh { fresh: Fresh::Integer { .. }, relation, column, .. } = draw else {
            continue;
        };
        match sample::greatest(session, relation, column).await? {
            Ok(greatest) => found.insert((relation.clone(), column.clone()), greatest),
            Err(reason) => return Ok(Err(reason)),
        };
    }
    Ok(Ok(found))
}

fn fresh_parameters(plan: &Plan, greatest: &Greatest) -> Vec<FreshParameter> {
    let of = |(index, draw): (usize, &Draw)| match draw {
        Draw::Fresh { fresh, relation, column, .. } => {
            let key = (relation.clone(), column.clone());
            let greatest = greatest.get(&key).copied().unwrap_or(0);
            Some(FreshParameter { number: index + 1, kind: fresh.kind(relation, column, greatest) })
        }
        _ => None,
    };
    plan.draws.iter().enumerate().filter_map(of).collect()
}

/// Rows by group, and where they come from.
type Rows = (Vec<Vec<SampledRow>>, String);

/// Rows of every relation: of joined ones together where that gives any, of each by itself otherwise.
async fn plan_rows(
    session: &Session,
    snapshot: &Snapshot,
    plan: &Plan,
    seed: u64,
    random: &mut StdRng,
) -> Result<Result<Rows, String>, WorkloadError> {
    if plan.groups.len() > 1
        && let Some(rows) = joined_rows(session, snapshot, plan, seed).await?
    {
        let names: Vec<String> =
            plan.groups.iter().map(|group| group.relation.to_string()).collect();
        return Ok(Ok((rows, format!("rows of {}, joined", names.join(" and ")))));
    }
    let mut all = Vec::new();
    let mut sources = BTreeSet::new();
    for base in 0..plan.groups.len() {
        match group_rows(session, snapshot, plan, base, seed, random).await? {
            Ok((rows, source)) => {
                all.push(rows);
                sources.insert(source);
            }
            Err(reason) => return Ok(Err(reason)),
        }
    }
    let independent = if plan.groups.len() > 1 { ", drawn independently" } else { "" };
    let source = sources.into_iter().collect::<Vec<_>>().join(" and ");
    Ok(Ok((all, source + independent)))
}

/// Rows of joined relations, from the largest, which usually refers to the others; None where the joins don't
/// reach all, or looking up finds nothing or takes too long.
async fn joined_rows(
    session: &Session,
    snapshot: &Snapshot,
    plan: &Plan,
    seed: u64,
) -> Result<Option<Vec<Vec<SampledRow>>>, WorkloadError> {
    let rows = |group: &Group| {
        snapshot.relation(&group.relation).and_then(|relation| relation.rows).unwrap_or(0.0)
    };
    let largest = plan.groups.iter().enumerate().max_by(|a, b| rows(a.1).total_cmp(&rows(b.1)));
    let Some((base, group)) = largest else { return Ok(None) };
    let (Some(edges), Some(relation)) = (plan.order_from(base), snapshot.relation(&group.relation))
    else {
        return Ok(None);
    };
    let sampled = sample::rows(session, relation, &plan.groups, base, &edges, seed).await?;
    let Ok(sampled) = sampled else { return Ok(None) };
    if sampled.iter().any(Vec::is_empty) {
        return Ok(None);
    }
    let order = std::iter::once(base).chain(edges.iter().map(|edge| edge.to));
    let mut rows: Vec<(usize, Vec<SampledRow>)> = order.zip(sampled).collect();
    rows.sort_by_key(|(group, _)| *group);
    Ok(Some(rows.into_iter().map(|(_, rows)| rows).collect()))
}

/// Rows of one relation and where they come from.
async fn group_rows(
    session: &Session,
    snapshot: &Snapshot,
    plan: &Plan,
    base: usize,
    seed: u64,
    random: &mut StdRng,
) -> Result<Result<(Vec<SampledRow>, String), String>, WorkloadError> {
    let found = plan
        .groups
        .get(base)
        .and_then(|group| snapshot.relation(&group.relation).map(|relation| (group, relation)));
    let Some((group, relation)) = found else {
        return Ok(Err("a relation is not in the snapshot".into()));
    };
    Ok(match sample::rows(session, relation, &plan.groups, base, &[], seed).await? {
        Ok(rows) => {
            let rows = rows.into_iter().next().unwrap_or_default();
            Ok((rows, format!("rows of {}", group.relation)))
        }
        Err(Unreadable::Refused(reason)) => statistics::rows(relation, group, random)
            .map(|rows| (rows, "pg_stats".to_owned()))
            .ok_or_else(|| {
                format!(
                    "{reason}; nor are there statistics of these columns: GRANT SELECT ON {} to this role, or pg_read_all_data",
                    group.relation
                )
            }),
        Err(Unreadable::Unusable(reason)) => {
            Err(format!("{reason}; give values with `-- params: [...]` lines"))
        }
    })
}

fn missing(groups: &[Group], material: &Material, shape: &StatementShape) -> String {
    let empty = groups.iter().zip(&material.rows).find(|(_, rows)| rows.is_empty());
    match (empty, shape.relations.first()) {
        (Some((group, _)), _) => format!(
            "{} holds no row that could give values; give some with `-- params: [...]` lines",
            group.relation
        ),
        (None, Some(used)) => format!(
            "no more new values fit into the type of a unique column of {}; give some with `-- params: [...]` lines",
            used.name
        ),
        (None, None) => "no values were found".into(),
    }
}

/// A number of a statement's own, so that its values don't depend on the other statements.
fn number(sql: &str) -> u64 {
    pgassay_sql::fingerprint(sql)
        .ok()
        .and_then(|hexadecimal| u64::from_str_radix(&hexadecimal, 16).ok())
        .unwrap_or(0)
}
