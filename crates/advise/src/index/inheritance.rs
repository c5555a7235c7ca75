//! Tables that inherit from one another, without partitioning: a scan of the parent reads the children too, and an
//! index of the parent holds none of their rows (manual, section 5.11.1 "Caveats").

use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::what_if::PlannedCost;
use pgassay_sql::{Join, OperatorJoin, RelationUse, StatementKind, StatementShape};

/// Children of a mention that are looked at, the largest first.
const MOST: usize = 16;
/// Children named in a note.
const NAMED: usize = 3;

/// Makes the children that a plan scans in a parent's place mentions of their own, asked what the parent is. Returns
/// each child's mention with its parent's.
pub(super) fn add_children(
    snapshot: &Snapshot,
    shape: &mut StatementShape,
    plan: Option<&PlannedCost>,
) -> Vec<(usize, usize)> {
    let mut added = Vec::new();
    for parent in 0..shape.relations.len() {
        let Some(used) = shape.relations.get(parent).cloned() else { continue };
        // An INSERT puts rows into the parent alone.
        if shape.kind == StatementKind::Insert && used.target_of_write {
            continue;
        }
        let relation = snapshot.relation(&used.name);
        let Some(relation) = relation.filter(|known| has_children(known)) else { continue };
        for child in children(snapshot, shape, plan, relation).into_iter().take(MOST) {
            let mention = shape.relations.len();
            shape.relations.push(RelationUse { name: child.name.clone(), ..used.clone() });
            ask_as(shape, parent, mention);
            added.push((mention, parent));
        }
    }
    added
}

/// Whether tables inherit from one, without being its partitions.
pub(super) fn has_children(relation: &Relation) -> bool {
    relation.has_children && relation.kind == 'r'
}

/// What is to be said of a parent.
pub(super) fn note(parent: &Relation, children: &[String]) -> String {
    let mut note = format!(
        "tables inherit from {}, and an index of it holds no row of theirs: each needs its own",
        parent.name
    );
    if let Some(named) = children.get(..children.len().min(NAMED)).filter(|some| !some.is_empty()) {
        note.push_str(&format!(", which is weighed for {}", named.join(", ")));
        if children.len() > NAMED {
            note.push_str(&format!(" and {} more, the largest", children.len() - NAMED));
        }
    }
    note
}

/// Relations with all the parent's columns that the plan scans and the statement does not name, the largest first.
fn children<'s>(
    snapshot: &'s Snapshot,
    shape: &StatementShape,
    plan: Option<&PlannedCost>,
    parent: &Relation,
) -> Vec<&'s Relation> {
    let Some(plan) = plan else { return Vec::new() };
    let inherits = |child: &Relation| {
        parent.columns.iter().all(|column| {
            child.column(&column.name).is_some_and(|own| own.type_name == column.type_name)
        })
    };
    let named = |child: &Relation| shape.relations.iter().any(|used| used.name == child.name);
    let mut children: Vec<&Relation> = snapshot
        .relations
        .iter()
        .filter(|child| child.kind == 'r' && scans(&plan.shape, &child.name.name))
        .filter(|child| !named(child) && inherits(child))
        .collect();
    children.sort_by_key(|child| std::cmp::Reverse(child.pages));
    children
}

/// Whether a plan has a scan of a relation of that name.
fn scans(plan: &str, name: &str) -> bool {
    let scan = format!("Scan {name}");
    plan.match_indices(&scan).any(|(at, found)| {
        let rest = plan.get(at + found.len()..).unwrap_or_default();
        rest.is_empty() || rest.starts_with([',', ')', ' '])
    })
}

/// Asks of a mention what is asked of another.
fn ask_as(shape: &mut StatementShape, parent: usize, mention: usize) {
    let own = |relation: usize| if relation == parent { mention } else { relation };
    let predicates = shape.predicates.iter().filter(|known| known.relation == parent).cloned();
    let predicates: Vec<_> = predicates.collect();
    shape.predicates.extend(predicates.into_iter().map(|mut known| {
        known.relation = mention;
        known
    }));
    let joins = shape.joins.iter().filter(|join| join.left.0 == parent || join.right.0 == parent);
    let joins: Vec<Join> = joins
        .map(|Join { left, right }| Join {
            left: (own(left.0), left.1.clone()),
            right: (own(right.0), right.1.clone()),
        })
        .collect();
    shape.joins.extend(joins);
    let joins = shape.operator_joins.iter();
    let joins: Vec<OperatorJoin> = joins
        .filter(|join| join.left.0 == parent || join.right.0 == parent)
        .map(|join| OperatorJoin {
            left: (own(join.left.0), join.left.1.clone()),
            operator: join.operator.clone(),
            right: (own(join.right.0), join.right.1.clone()),
        })
        .collect();
    shape.operator_joins.extend(joins);
    let columns = |all: &[(usize, String)]| -> Vec<(usize, String)> {
        let of_parent = all.iter().filter(|(relation, _)| *relation == parent);
        of_parent.map(|(_, column)| (mention, column.clone())).collect()
    };
    let (read, group) = (columns(&shape.columns_read), columns(&shape.group));
    shape.columns_read.extend(read);
    shape.group.extend(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_is_told_by_the_whole_name() {
        let plan = "Append (Seq Scan logs, Bitmap Heap Scan logs_2024 (Bitmap Index Scan using i))";
        assert!(scans(plan, "logs") && scans(plan, "logs_2024"));
        assert!(!scans(plan, "log") && !scans(plan, "logs_20"));
    }
}
