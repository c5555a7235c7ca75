//! Where the value of each `$n` is to come from: values to values, before any row is read.

use crate::bounds::{Bound, bound, is_offset};
use crate::fresh::{self, Fresh};
use crate::probe::ParameterType;
use pgassay_model::index::RelationName;
use pgassay_model::snapshot::Snapshot;
use pgassay_sql::{Join, Operator, ParameterRole, ParameterUse, StatementShape, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// Rows of a first page of results, as most interfaces show; an assumption, and named as one.
const LIMIT: &str = "20";
/// Length of a list given as an array; an assumption, and named as one.
pub(crate) const LIST_LENGTH: usize = 10;

/// What a statement needs.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Relations whose rows are sampled.
    pub groups: Vec<Group>,
    /// Equalities that the statement demands between these relations.
    pub edges: Vec<Edge>,
    /// How `$1`, `$2` … are drawn.
    pub draws: Vec<Draw>,
    /// What is assumed, in words.
    pub assumptions: BTreeSet<String>,
}

/// A relation to sample, and what of each row.
#[derive(Debug)]
pub(crate) struct Group {
    /// The relation.
    pub relation: RelationName,
    /// What is taken of each row.
    pub outputs: Vec<Output>,
}

/// A column of one group that equals a column of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The group whose row is known.
    pub from: usize,
    /// Its column.
    pub from_column: String,
    /// The group whose row is looked up.
    pub to: usize,
    /// Its column.
    pub to_column: String,
}

/// One value taken of a sampled row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    /// Column or expression.
    pub subject: Subject,
    /// Type to cast to.
    pub type_name: String,
    /// Its own value, or the next greater one in the sample.
    pub next: bool,
    /// Whether rows in which it is NULL are of use.
    pub nullable: bool,
}

/// A place in the sample: which relation, which output, and how many rows further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    pub group: usize,
    pub output: usize,
    pub lane: usize,
}

/// How a `$n` gets its value.
#[derive(Debug)]
pub(crate) enum Draw {
    /// Always the same text.
    Constant(String),
    /// A sampled value.
    Row(Cell),
    /// An array literal of sampled values.
    List { cell: Cell, delimiter: String },
    /// A value that no row holds, made like a sampled one.
    Fresh { fresh: Fresh, relation: RelationName, column: String, like: Cell },
}

/// Decides for every parameter; an error is the reason why the statement can't be used.
pub(crate) fn plan(
    shape: &StatementShape,
    sql: &str,
    types: &[ParameterType],
    snapshot: &Snapshot,
) -> Result<Plan, String> {
    let mut planning = Planning {
        shape,
        sql,
        snapshot,
        unique: fresh::columns(shape, sql, snapshot)?,
        lanes: Lanes::new(shape),
        plan: Plan::default(),
    };
    for (index, kind) in types.iter().enumerate() {
        let draw = planning.draw(index + 1, kind)?;
        planning.plan.draws.push(draw);
    }
    let mut plan = planning.plan;
    plan.edges = edges(shape, &plan.groups);
    let inserts = |used: &ParameterUse| used.role == ParameterRole::Inserted;
    if fresh::has_on_conflict(sql) && shape.parameters.values().any(inserts) {
        plan.assumptions.insert("assumed: every row is in conflict with one that exists".into());
    }
    Ok(plan)
}

fn unknown(number: usize, shape: &StatementShape) -> String {
    let named = |names: Vec<String>, what: &str| match names.is_empty() {
        true => String::new(),
        false => format!(" ({} {what})", names.join(", ")),
    };
    let views = named(
        shape.unknown_relations.clone(),
        "is no table, materialized view or view that could be looked through",
    ) + &named(
        shape.views.iter().map(ToString::to_string).collect(),
        "is a view, of which only columns that it hands on as they are tell",
    );
    format!(
        "${number} is compared with no column or expression whose rows could give values{views}; give values with `-- params: [...]` lines"
    )
}

fn edges(shape: &StatementShape, groups: &[Group]) -> Vec<Edge> {
    let group = |relation: usize| {
        let name = &shape.relations.get(relation)?.name;
        groups.iter().position(|group| group.relation == *name)
    };
    let edge = |join: &Join| {
        Some(Edge {
            from: group(join.left.0)?,
            from_column: join.left.1.clone(),
            to: group(join.right.0)?,
            to_column: join.right.1.clone(),
        })
    };
    shape.joins.iter().filter_map(edge).filter(|edge| edge.from != edge.to).collect()
}

impl Plan {
    /// The order in which the rows of all groups can be looked up from those of `base`; None where the
    /// statement's joins don't reach all.
    pub(crate) fn order_from(&self, base: usize) -> Option<Vec<Edge>> {
        let mut reached = BTreeSet::from([base]);
        let mut order = Vec::new();
        while reached.len() < self.groups.len() {
            let step = self.edges.iter().find_map(|edge| {
                match (reached.contains(&edge.from), reached.contains(&edge.to)) {
                    (true, false) => Some(edge.clone()),
                    (false, true) => Some(Edge {
                        from: edge.to,
                        from_column: edge.to_column.clone(),
                        to: edge.from,
                        to_column: edge.from_column.clone(),
                    }),
                    _ => None,
                }
            })?;
            reached.insert(step.to);
            order.push(step);
        }
        Some(order)
    }

    /// The place of an output in the sample, added where it is new.
    fn cell(&mut self, used: &ParameterUse, output: Output, lane: usize) -> Cell {
        let group =
            self.groups.iter().position(|group| group.relation == used.relation).unwrap_or_else(
                || {
                    let relation = used.relation.clone();
                    self.groups.push(Group { relation, outputs: Vec::new() });
                    self.groups.len() - 1
                },
            );
        let Some(outputs) = self.groups.get_mut(group).map(|group| &mut group.outputs) else {
            return Cell { group, output: 0, lane };
        };
        let known = outputs.iter().position(|known| {
            (&known.subject, &known.type_name, known.next)
                == (&output.subject, &output.type_name, output.next)
        });
        let output = match known {
            Some(known) => {
                if let Some(known) = outputs.get_mut(known) {
                    known.nullable &= output.nullable;
                }
                known
            }
            None => {
                outputs.push(output);
                outputs.len() - 1
            }
        };
        Cell { group, output, lane }
    }
}

/// Everything known while the parameters of a statement are decided one by one.
struct Planning<'a> {
    shape: &'a StatementShape,
    sql: &'a str,
    snapshot: &'a Snapshot,
    /// Columns whose written values must be new.
    unique: BTreeSet<(RelationName, String)>,
    lanes: Lanes,
    plan: Plan,
}

impl Planning<'_> {
    fn draw(&mut self, number: usize, kind: &ParameterType) -> Result<Draw, String> {
        match self.shape.parameters.get(&number) {
            Some(used) => self.used(number, used, kind),
            None if self.shape.limit_parameters.contains(&number) => Ok(self.limit(number)),
            None => Err(unknown(number, self.shape)),
        }
    }

    fn limit(&mut self, number: usize) -> Draw {
        let (word, rows) =
            if is_offset(self.sql, number) { ("OFFSET", "0") } else { ("LIMIT", LIMIT) };
        self.assume(format!("assumed: {word} {rows}"));
        Draw::Constant(rows.to_owned())
    }

    fn assume(&mut self, what: impl Into<String>) {
        self.plan.assumptions.insert(what.into());
    }

    fn used(
        &mut self,
        number: usize,
        used: &ParameterUse,
        kind: &ParameterType,
    ) -> Result<Draw, String> {
        let lane = self.lanes.next(used);
        let written = is_written(used);
        let mut output = Output {
            subject: used.subject.clone(),
            type_name: kind.name.clone(),
            next: false,
            nullable: written || used.role == ParameterRole::Compared(Operator::Other("is".into())),
        };
        match &used.role {
            ParameterRole::AnyOf => {
                let Some((element, delimiter)) = &kind.element else {
                    return Err(format!(
                        "${number} of = ANY is of type {}, no array; give values with `-- params: [...]` lines",
                        kind.name
                    ));
                };
                output.type_name = element.clone();
                self.assume(format!("assumed: up to {LIST_LENGTH} values in a list"));
                let cell = self.plan.cell(used, output, lane);
                return Ok(Draw::List { cell, delimiter: delimiter.clone() });
            }
            ParameterRole::Compared(Operator::Range) => {
                output.next = is_upper_of_two(number, used, self.sql, self.shape);
                self.assume(if pairs_up(used, self.sql, self.shape) {
                    "assumed: ranges between neighbours of the sample"
                } else {
                    "assumed: open ranges begin at any row"
                });
            }
            ParameterRole::Compared(operator) if !takes_own_values(operator) => {
                return Err(format!(
                    "${number} is a pattern or an operand that rows don't hold ({}); give values with `-- params: [...]` lines",
                    match operator {
                        Operator::PrefixLike | Operator::OtherLike => "LIKE",
                        Operator::Other(name) => name,
                        _ => "operator",
                    }
                ));
            }
            ParameterRole::Compared(_) | ParameterRole::Assigned | ParameterRole::Inserted => {}
        }
        let cell = self.plan.cell(used, output, lane);
        match &used.subject {
            Subject::Column(column)
                if written && self.unique.contains(&(used.relation.clone(), column.clone())) =>
            {
                let fresh = self
                    .snapshot
                    .relation(&used.relation)
                    .and_then(|relation| relation.column(column))
                    .and_then(Fresh::of)
                    .ok_or_else(|| fresh::impossible(&used.relation, column))?;
                self.assume(format!(
                    "made: values of {column} that no row holds, anew for each request"
                ));
                Ok(Draw::Fresh {
                    fresh,
                    relation: used.relation.clone(),
                    column: column.clone(),
                    like: cell,
                })
            }
            _ => Ok(Draw::Row(cell)),
        }
    }
}

/// Operators whose operand may be any value that the column itself holds.
fn takes_own_values(operator: &Operator) -> bool {
    match operator {
        Operator::Equal | Operator::In | Operator::NotEqual | Operator::Range => true,
        Operator::Other(name) => ["is", "@>", "<@", "&&"].contains(&name.as_str()),
        Operator::IsNull | Operator::IsNotNull | Operator::PrefixLike | Operator::OtherLike => {
            false
        }
    }
}

/// Whether a range has two bounds that are parameters.
fn pairs_up(used: &ParameterUse, sql: &str, shape: &StatementShape) -> bool {
    let same = shape.parameters.iter().filter(|(_, other)| *other == used);
    same.into_iter().any(|(number, _)| is_upper_of_two(*number, used, sql, shape))
}

/// Whether a range has two bounds that are parameters, of which this is the upper one.
fn is_upper_of_two(number: usize, used: &ParameterUse, sql: &str, shape: &StatementShape) -> bool {
    let bounds: Vec<(usize, Option<Bound>)> = shape
        .parameters
        .iter()
        .filter(|(_, other)| *other == used)
        .map(|(other, _)| (*other, bound(sql, *other)))
        .collect();
    let lower = |known: &(usize, Option<Bound>)| known.1 == Some(Bound::Lower);
    match bound(sql, number) {
        Some(Bound::Lower) => false,
        Some(Bound::Upper) => bounds.iter().any(lower),
        // The text does not tell: then the first is the lower one.
        None => bounds.first().is_some_and(|(first, _)| *first != number),
    }
}

/// Which rows of a sample a set of values takes: conditions describe one row together, a second value for
/// the same column (a list, a second row to insert) comes from a second row, and what is written comes from
/// rows that are not the ones looked for.
struct Lanes {
    compared: BTreeMap<RelationName, usize>,
    seen: BTreeMap<(RelationName, Subject, bool), usize>,
}

impl Lanes {
    fn new(shape: &StatementShape) -> Self {
        let mut lanes = Lanes { compared: BTreeMap::new(), seen: BTreeMap::new() };
        for used in shape.parameters.values() {
            let lane = lanes.next(used);
            if !is_written(used) {
                let most = lanes.compared.entry(used.relation.clone()).or_default();
                *most = (*most).max(lane + 1);
            }
        }
        lanes.seen.clear();
        lanes
    }

    fn next(&mut self, used: &ParameterUse) -> usize {
        let written = is_written(used);
        let key = (used.relation.clone(), used.subject.clone(), written);
        let seen = self.seen.entry(key).or_default();
        let mut lane = *seen;
        if used.role == ParameterRole::Compared(Operator::Range) {
            lane = 0;
        } else {
            *seen += 1;
        }
        if written {
            lane += self.compared.get(&used.relation).copied().unwrap_or(0);
        }
        lane
    }
}

fn is_written(used: &ParameterUse) -> bool {
    matches!(used.role, ParameterRole::Assigned | ParameterRole::Inserted)
}
