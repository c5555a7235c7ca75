//! Foreign keys whose referencing side has no index: every row deleted from the relation referred to, or whose key is
//! changed, then scans the whole of the other (manual, "Foreign Keys").

use crate::by_partition;
use crate::drafts::{Draft, without_figure};
use crate::index::name;
use crate::load::Load;
use crate::reachable::NEGLIGIBLE;
use crate::risk::{self, NewIndex};
use crate::shapes::Shapes;
use crate::words;
use pgassay_model::change::Change;
use pgassay_model::index::{Index, IndexDefinition, IndexKey, RelationName};
use pgassay_model::index_size::{self, BLOCK, ExpressionFacts};
use pgassay_model::plan::{ExpectedSource, Recommendation};
use pgassay_model::relation::{ForeignKey, Relation};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_sql::{drop_index_ddl, index_ddl};

/// A relation of fewer pages is read whole in the time of a few look-ups.
const FEW_PAGES: u64 = 64;

/// An index that a foreign key lacks. Its worth is a rule's: the planner's cost of a DELETE leaves out what its
/// triggers do.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignKeyIndex {
    /// The constraint.
    pub constraint: String,
    /// The index.
    pub definition: IndexDefinition,
    /// `CREATE INDEX CONCURRENTLY …`, without semicolon; of a partitioned table the steps that build it partition by
    /// partition, for people.
    pub ddl: String,
    /// `DROP INDEX CONCURRENTLY …`; without CONCURRENTLY of a partitioned table, which can't be with it.
    pub undo: String,
    /// Estimated size.
    pub size: Bytes,
    /// What is deleted or changed on the other side.
    pub reason: String,
    /// Statements of the workload that do it; empty: only the server's counters show it.
    pub statements: Vec<String>,
    /// Whether its relation is partitioned: nothing can be built concurrently there.
    partitioned: bool,
}

/// Whether an index finds the rows of a key: all of its columns come first, in any order.
pub(crate) fn serves(index: &Index, key: &ForeignKey) -> bool {
    let definition = &index.definition;
    let first: Vec<&str> = definition
        .keys
        .iter()
        .take(key.columns.len())
        .filter_map(|key| key.column.as_deref())
        .collect();
    index.valid
        && definition.predicate.is_none()
        && (definition.method == "btree" || (definition.method == "hash" && key.columns.len() == 1))
        && first.len() == key.columns.len()
        && key.columns.iter().all(|column| first.contains(&column.as_str()))
}

/// Those that are missing and missed. `proposed`: indexes that are proposed anyway.
pub(crate) fn missing(
    snapshot: &Snapshot,
    shapes: &Shapes<'_>,
    proposed: &[IndexDefinition],
) -> Vec<ForeignKeyIndex> {
    let mut found: Vec<ForeignKeyIndex> = Vec::new();
    for relation in &snapshot.relations {
        if relation.pages < FEW_PAGES && relation.kind != 'p' {
            continue;
        }
        for key in &relation.foreign_keys {
            let planned = |definition: &IndexDefinition| {
                definition.relation == relation.name && as_index(definition, |i| serves(i, key))
            };
            if relation.indexes.iter().any(|index| serves(index, key))
                || proposed.iter().any(planned)
                || found.iter().any(|other| planned(&other.definition))
            {
                continue;
            }
            let Some((reason, statements)) = missed(snapshot, shapes, relation, key) else {
                continue;
            };
            found.push(index(snapshot, relation, key, reason, statements));
        }
    }
    found
}

fn as_index(definition: &IndexDefinition, judge: impl Fn(&Index) -> bool) -> bool {
    judge(&Index {
        oid: 0,
        definition: definition.clone(),
        ddl: String::new(),
        primary: false,
        constraint: None,
        valid: true,
        replica_identity: false,
        attached: false,
        leaves: None,
        size: Bytes(0),
        scans: 0,
        last_scan: None,
    })
}

/// Who deletes from the relation referred to, or changes its key; None where nobody does.
fn missed(
    snapshot: &Snapshot,
    shapes: &Shapes<'_>,
    relation: &Relation,
    key: &ForeignKey,
) -> Option<(String, Vec<String>)> {
    let statements = shapes.removing(&key.references, &key.referenced);
    let deleted =
        snapshot.relation(&key.references).map_or(0, |referenced| referenced.activity.deleted);
    let columns = key.columns.join(", ");
    let each = format!("reads all of {} ({})", relation.name, relation.size);
    if !statements.is_empty() {
        let who = words::list(&statements);
        return Some((
            format!(
                "{who} {} rows of {} or changes their key; without an index on ({columns}) the check of {} {each} for each row",
                if statements.len() == 1 { "deletes" } else { "delete" },
                key.references,
                key.name
            ),
            statements,
        ));
    }
    (deleted > 0).then(|| {
        (
            format!(
                "{deleted} rows of {} were deleted since the statistics were reset; without an index on ({columns}) the check of {} {each} for each",
                key.references, key.name
            ),
            Vec::new(),
        )
    })
}

fn index(
    snapshot: &Snapshot,
    relation: &Relation,
    key: &ForeignKey,
    reason: String,
    statements: Vec<String>,
) -> ForeignKeyIndex {
    let mut definition = IndexDefinition {
        relation: relation.name.clone(),
        name: String::new(),
        method: "btree".into(),
        unique: false,
        keys: key.columns.iter().map(IndexKey::column).collect(),
        include: Vec::new(),
        predicate: None,
        pages_per_range: None,
    };
    definition.name = name::choose(&definition, &name::taken(snapshot, &relation.name.schema));
    let rows = relation.rows.unwrap_or(relation.activity.live_rows as f64);
    let unknown = |_: &str| ExpressionFacts::UNKNOWN;
    let pages = index_size::pages(relation, &definition, rows, &unknown, None).unwrap_or(1.0);
    let partitioned = relation.kind == 'p';
    ForeignKeyIndex {
        constraint: key.name.clone(),
        ddl: match partitioned {
            true => by_partition::steps(&definition),
            false => index_ddl(&definition, true),
        },
        undo: drop_index_ddl(&relation.name.schema, &definition.name, !partitioned),
        size: Bytes((pages * BLOCK) as u64),
        definition,
        reason,
        statements,
        partitioned,
    }
}

/// Those whose statements are a real share of the load, as changes.
pub(crate) fn decide(missing: &[ForeignKeyIndex], load: &Load, snapshot: &Snapshot) -> Vec<Draft> {
    missing
        .iter()
        .filter(|index| measurable(index, load))
        .map(|index| {
            let share = load.share(index.statements.iter().map(String::as_str));
            let relation = snapshot.relation(&index.definition.relation);
            Draft {
                title: format!("index for foreign key {} of {}", index.constraint, index.definition.relation),
                group: "foreign keys",
                apply: vec![index.ddl.clone()],
                undo: vec![index.undo.clone()],
                needs_restart: false,
                expected: without_figure(
                    format!(
                        "{} find the referencing rows by an index; the planner's cost leaves the checks of foreign keys out",
                        words::list(&index.statements)
                    ),
                    ExpectedSource::Rule,
                ),
                risk: risk::create_index(&NewIndex {
                    size: index.size,
                    relation: relation.map_or(Bytes(0), |relation| relation.size),
                    write_cost: 0.0,
                    engine: "rule",
                    load: share,
                    warning: None,
                }),
                evidence: vec![index.reason.clone(), format!("about {} (estimate)", index.size)],
                statements: index.statements.clone(),
                mechanism: format!(
                    "pg_stat_user_indexes.idx_scan of {}, seq_tup_read of {}",
                    index.definition.name, index.definition.relation
                ),
                change: Change::CreateIndex {
                    definition: index.definition.clone(),
                    estimated_size: index.size,
                },
            }
        })
        .collect()
}

/// The others, for people to decide.
pub(crate) fn recommendations(missing: &[ForeignKeyIndex], load: &Load) -> Vec<Recommendation> {
    missing
        .iter()
        .filter(|index| !measurable(index, load))
        .map(|index| Recommendation {
            title: format!("index foreign key {} of {}", index.constraint, index.definition.relation),
            text: format!("{}; {}", index.ddl, index.reason),
            expected: format!(
                "deletes from the relation referred to no longer scan; about {} of disk, and one more index to maintain",
                index.size
            ),
            source: "a rule: pg_constraint and pg_stat_user_tables.n_tup_del".to_owned(),
        })
        .collect()
}

fn measurable(index: &ForeignKeyIndex, load: &Load) -> bool {
    let share = load.share(index.statements.iter().map(String::as_str));
    !index.statements.is_empty() && !index.partitioned && share.is_none_or(|s| s >= NEGLIGIBLE)
}

impl ForeignKeyIndex {
    /// The relation that gets it.
    pub fn relation(&self) -> &RelationName {
        &self.definition.relation
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::fixture;

    /// Users, and orders that refer to them by a column without an index.
    fn shop(pages: u64) -> Snapshot {
        let mut snapshot = fixture::snapshot();
        let mut orders = fixture::users();
        orders.name.name = "orders".into();
        orders.indexes.clear();
        orders.pages = pages;
        orders.foreign_keys.push(ForeignKey {
            name: "of_user".into(),
            columns: vec!["email".into()],
            references: RelationName { schema: "public".into(), name: "users".into() },
            referenced: vec!["id".into()],
        });
        snapshot.relations.push(orders);
        snapshot
    }

    fn found(snapshot: &Snapshot, sql: &str) -> Vec<ForeignKeyIndex> {
        let workload = fixture::workload(&[("it", sql)]);
        missing(snapshot, &Shapes::of(&workload, snapshot), &[])
    }

    #[test]
    fn only_deletes_and_changes_of_the_key_call_for_an_index() {
        let snapshot = shop(1000);
        for sql in ["DELETE FROM users WHERE id = $1", "UPDATE users SET id = $1 WHERE id = $2"] {
            assert_eq!(found(&snapshot, sql).len(), 1, "{sql}");
        }
        for sql in [
            "UPDATE users SET email = $1 WHERE id = $2",
            "DELETE FROM orders WHERE id = $1",
            "INSERT INTO users (id) VALUES ($1)",
            "SELECT 1 FROM users",
        ] {
            assert_eq!(found(&snapshot, sql), [], "{sql}");
        }
        assert_eq!(found(&shop(10), "DELETE FROM users WHERE id = $1"), [], "it is small");
    }

    #[test]
    fn what_only_the_counters_show_is_for_people_to_decide() {
        let mut snapshot = shop(1000);
        snapshot.relations[0].activity.deleted = 12;
        let all = found(&snapshot, "SELECT 1 FROM users");
        assert!(all[0].reason.starts_with("12 rows of public.users were deleted"), "{all:?}");
        let load = Load::default();
        assert!(decide(&all, &load, &snapshot).is_empty());
        assert_eq!(recommendations(&all, &load).len(), 1);
    }

    #[test]
    fn an_index_serves_with_the_columns_first_in_any_order() {
        let snapshot = shop(1000);
        let mut key = snapshot.relations[1].foreign_keys[0].clone();
        key.columns = vec!["email".into(), "username".into()];
        let mut index = fixture::index("orders", "i", "username", false);
        assert!(!serves(&index, &key));
        index.definition.keys.push(IndexKey::column("email"));
        assert!(serves(&index, &key));
        index.definition.predicate = Some("id > 5".into());
        assert!(!serves(&index, &key), "a partial one finds a part");
    }
}
