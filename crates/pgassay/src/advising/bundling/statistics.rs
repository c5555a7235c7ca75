//! Statistics without their values, or with pseudonyms where only equality is asked for; and a snapshot without what
//! is nobody's business elsewhere.

use super::arrays::{array, elements};
use super::values::{Disguise, Kind, kind};
use pgassay_model::index::RelationName;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::Workload;
use pgassay_shadow::Blueprint;
use pgassay_shadow::blueprint::Slot;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// `STATISTIC_KIND_MCV` of pg_statistic.h.
const COMMON: i16 = 1;
/// Kinds that hold no value: correlation, and how many distinct elements arrays have.
const WITHOUT_VALUES: [i16; 2] = [3, 5];
/// Parameters with words for a value that advice may look at; of all others words stay here, because commands and
/// connection strings may hold passwords.
const WORDS: [&str; 12] = [
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "client_encoding",
    "data_checksums",
    "default_table_access_method",
    "default_text_search_config",
    "lc_collate",
    "lc_ctype",
    "search_path",
    "server_version",
    "shared_preload_libraries",
];

/// Which lists of common values are kept, as pseudonyms.
pub struct Lists<'a> {
    /// None: no list at all.
    pub disguise: Option<&'a Disguise>,
    /// Columns whose lists are not kept.
    pub compared_by_order: BTreeSet<(RelationName, String)>,
}

/// A column that statements compare and whose common values are not in the bundle, not even as pseudonyms.
#[derive(Debug, Serialize)]
pub struct WithoutValues {
    /// Its relation.
    pub relation: RelationName,
    /// The column.
    pub column: String,
    /// Its type.
    pub type_name: String,
    /// Why.
    pub why: &'static str,
}

impl Lists<'_> {
    /// Those of `compared` that have a list of common values, which is not kept.
    pub fn without_values(
        &self,
        snapshot: &Snapshot,
        compared: &BTreeSet<(RelationName, String)>,
    ) -> Vec<WithoutValues> {
        let mut without = Vec::new();
        for (relation, column) in compared {
            let known = snapshot.relation(relation).and_then(|known| known.column(column));
            let Some(known) = known else { continue };
            let has = known.statistics.as_ref().is_some_and(|statistics| {
                !statistics.most_common.is_empty() || !statistics.histogram.is_empty()
            });
            if !has || self.of(relation, column, &known.type_name).is_some() {
                continue;
            }
            without.push(WithoutValues {
                relation: relation.clone(),
                column: column.clone(),
                type_name: known.type_name.clone(),
                why: match kind(&known.type_name) {
                    Some(_) => "a statement compares it by order, in which pseudonyms are not",
                    None => "values of its type have no pseudonyms",
                },
            });
        }
        without
    }

    /// A column's disguise, where its list is kept.
    fn of(
        &self,
        relation: &RelationName,
        column: &str,
        type_name: &str,
    ) -> Option<(&Disguise, Kind)> {
        let by_order =
            self.compared_by_order.iter().any(|(known, name)| known == relation && name == column);
        Some((self.disguise.filter(|_| !by_order)?, kind(type_name)?))
    }

    /// Takes values out of what the planner reads.
    pub fn blueprint(&self, blueprint: &mut Blueprint, snapshot: &Snapshot) {
        let types: BTreeMap<(&RelationName, &str), &str> = snapshot
            .relations
            .iter()
            .flat_map(|relation| {
                relation.columns.iter().map(|column| {
                    ((&relation.name, column.name.as_str()), column.type_name.as_str())
                })
            })
            .collect();
        for one in &mut blueprint.statistics {
            let relation = RelationName { schema: one.schema.clone(), name: one.relation.clone() };
            let own = types.get(&(&relation, one.column.as_str())).copied().unwrap_or_default();
            let column = one.column.clone();
            one.figures.slots.retain_mut(|slot| {
                let type_name = slot.element.clone().unwrap_or_else(|| own.to_owned());
                WITHOUT_VALUES.contains(&slot.kind)
                    || (slot.kind == COMMON
                        // Of an expression only its own text could be looked up.
                        && one.number.is_none()
                        && self
                            .of(&relation, &column, &type_name)
                            .and_then(|(disguise, kind)| {
                                slot.values = Some(list(disguise, kind, slot.values.as_deref()?)?);
                                Some(())
                            })
                            .is_some())
            });
        }
        for one in &mut blueprint.extended {
            one.mcv = None;
            for figures in one.expressions.iter_mut().flatten() {
                figures.slots.retain(|slot: &Slot| WITHOUT_VALUES.contains(&slot.kind));
            }
        }
        blueprint.endpoints.clear();
    }

    /// Takes the same values out of what advice reads itself.
    pub fn snapshot(&self, snapshot: &mut Snapshot) {
        for relation in &mut snapshot.relations {
            for column in &mut relation.columns {
                let of = self.of(&relation.name, &column.name, &column.type_name);
                let Some(statistics) = &mut column.statistics else { continue };
                statistics.histogram.clear();
                statistics.most_common = std::mem::take(&mut statistics.most_common)
                    .into_iter()
                    .filter_map(|(value, share)| {
                        let (disguise, kind) = of?;
                        Some((disguise.pseudonym(kind, &value)?, share))
                    })
                    .collect();
            }
        }
        for known in snapshot.statements.iter_mut().flatten() {
            known.query.clear();
        }
    }
}

fn list(disguise: &Disguise, kind: Kind, values: &str) -> Option<String> {
    let each = |value: Option<String>| match value {
        None => Some(None),
        Some(value) => disguise.pseudonym(kind, &value).map(Some),
    };
    Some(array(&elements(values)?.into_iter().map(each).collect::<Option<Vec<_>>>()?))
}

/// Takes out what no advice elsewhere needs and what may hold a secret: parameters with words for a value, the pooler,
/// and statements that the workload does not hold (those that make roles name their passwords).
pub fn without_secrets(snapshot: &mut Snapshot, workload: &Workload) {
    snapshot.pooler = None;
    snapshot.parameters.retain(|name, _| !name.contains('.'));
    for parameter in snapshot.parameters.values_mut() {
        if parameter.vartype == "string" && !WORDS.contains(&parameter.name.as_str()) {
            parameter.setting.clear();
            parameter.current.clear();
            parameter.boot_val = None;
            parameter.reset_val = None;
        }
    }
    let known: BTreeSet<i64> =
        workload.statements.iter().filter_map(|statement| statement.queryid).collect();
    if let Some(statements) = &mut snapshot.statements {
        statements.retain(|statement| known.contains(&statement.queryid));
    }
}
