//! Values for columns under a unique index that are written: existing ones would be refused.

use pgassay_model::index::{Index, RelationName};
use pgassay_model::relation::{Column, Relation};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::FreshKind;
use pgassay_sql::{ParameterRole, StatementShape, Subject};
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeSet;

/// New integers start this far above the greatest, so that the sequence behind the column, which other
/// requests draw from, does not meet them.
const GAP: i128 = 1_000_000;
/// Values that a load may well make: where so many don't fit above the gap, there is none.
const MOST_EXPECTED: usize = 10_000_000;
/// Hexadecimal digits put before a sampled text: 48 random bits.
const PREFIX: usize = 12;

/// How a new value is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// Above the greatest value, up to the type's own limit.
    Integer { limit: i128 },
    /// A sampled text behind random digits, so that it keeps its form; at most so many characters.
    Text { length: Option<usize> },
    /// Random.
    Uuid,
    /// Random, as long as the sampled value.
    Bytes,
}

impl Fresh {
    /// For a column; None where its type allows none.
    pub(crate) fn of(column: &Column) -> Option<Self> {
        let (name, modifier) = match column.type_name.split_once('(') {
            Some((name, rest)) => (name, rest.split([',', ')']).next()),
            None => (column.type_name.as_str(), None),
        };
        let length = modifier.and_then(|text| text.trim().parse().ok());
        match name {
            "smallint" => Some(Fresh::Integer { limit: i16::MAX.into() }),
            "integer" => Some(Fresh::Integer { limit: i32::MAX.into() }),
            "bigint" => Some(Fresh::Integer { limit: i64::MAX.into() }),
            "numeric" if modifier.is_none() => Some(Fresh::Integer { limit: i64::MAX.into() }),
            "text" | "citext" | "character varying" | "character" | "bpchar"
                if length.is_none_or(|length| length >= PREFIX) =>
            {
                Some(Fresh::Text { length })
            }
            "uuid" => Some(Fresh::Uuid),
            "bytea" => Some(Fresh::Bytes),
            _ => None,
        }
    }

    /// How whoever drives the workload makes further values.
    pub(crate) fn kind(&self, relation: &RelationName, column: &str, greatest: i128) -> FreshKind {
        match self {
            Fresh::Integer { limit } => FreshKind::Serial {
                relation: relation.clone(),
                column: column.to_owned(),
                first: i64::try_from(first(*limit, MOST_EXPECTED, greatest)).unwrap_or(i64::MAX),
            },
            Fresh::Text { .. } => FreshKind::Text,
            Fresh::Uuid => FreshKind::Uuid,
            Fresh::Bytes => FreshKind::Bytes,
        }
    }

    /// The value of set number `index`, of `count`; `greatest` is the column's maximum.
    pub(crate) fn value(
        &self,
        index: usize,
        count: usize,
        greatest: i128,
        like: Option<&str>,
        random: &mut StdRng,
    ) -> Option<String> {
        match self {
            Fresh::Integer { limit } => {
                let first = first(*limit, count, greatest);
                Some(first + index as i128).filter(|value| value <= limit).map(|v| v.to_string())
            }
            Fresh::Text { length } => {
                let digits: u64 = random.random_range(0..1 << (4 * PREFIX));
                let text = format!("{digits:0PREFIX$x}{}", like.unwrap_or_default());
                Some(text.chars().take(length.unwrap_or(usize::MAX)).collect())
            }
            Fresh::Uuid => {
                // RFC 9562, version 4: six bits are fixed.
                let bits: u128 = random.random();
                let bits = bits & !(0xf << 76) & !(0b11 << 62) | (0x4 << 76) | (0b10 << 62);
                let hex = format!("{bits:032x}");
                let part = |from, to| hex.get(from..to).unwrap_or_default();
                Some(format!(
                    "{}-{}-{}-{}-{}",
                    part(0, 8),
                    part(8, 12),
                    part(12, 16),
                    part(16, 20),
                    part(20, 32)
                ))
            }
            Fresh::Bytes => {
                let bytes = like.map_or(16, |text| text.len().saturating_sub(2) / 2).max(8);
                let hex: String =
                    (0..bytes).map(|_| format!("{:02x}", random.random::<u8>())).collect();
                Some(format!("\\x{hex}"))
            }
        }
    }
}

/// The first of `count` new integers.
fn first(limit: i128, count: usize, greatest: i128) -> i128 {
    match greatest + GAP + count as i128 {
        end if end <= limit => greatest + GAP,
        _ => greatest + 1,
    }
}

/// Columns whose written values must be new; an error is why they can't be.
///
/// With ON CONFLICT existing values are what is wanted: the row that they come from is the one in conflict.
pub(crate) fn columns(
    shape: &StatementShape,
    sql: &str,
    snapshot: &Snapshot,
) -> Result<BTreeSet<(RelationName, String)>, String> {
    if has_on_conflict(sql) {
        return Ok(BTreeSet::new());
    }
    let mut fresh = BTreeSet::new();
    let written: BTreeSet<(&RelationName, &str, bool)> = shape
        .parameters
        .values()
        .filter_map(|used| match (&used.subject, &used.role) {
            (Subject::Column(column), ParameterRole::Inserted) => {
                Some((&used.relation, column.as_str(), true))
            }
            (Subject::Column(column), ParameterRole::Assigned) => {
                Some((&used.relation, column.as_str(), false))
            }
            _ => None,
        })
        .collect();
    let relations: BTreeSet<(&RelationName, bool)> =
        written.iter().map(|(relation, _, inserted)| (*relation, *inserted)).collect();
    for (name, inserted) in relations {
        let Some(relation) = snapshot.relation(name) else { continue };
        let parameters: BTreeSet<&str> = written
            .iter()
            .filter(|(other, _, kind)| *other == name && *kind == inserted)
            .map(|(_, column, _)| *column)
            .collect();
        for index in relation.indexes.iter().filter(|index| index.definition.unique) {
            let keys = key_columns(index, relation);
            let ours: Vec<&str> =
                keys.iter().copied().filter(|column| parameters.contains(column)).collect();
            // A key that the server makes (a sequence, a default) is new in itself.
            let made = inserted
                && keys.iter().any(|key| {
                    !parameters.contains(key)
                        && relation.column(key).is_some_and(|column| column.has_default)
                });
            let met =
                ours.iter().any(|column| fresh.contains(&(name.clone(), (*column).to_owned())));
            if ours.is_empty() || made || met {
                continue;
            }
            let referring = |column: &str| {
                relation.foreign_keys.iter().any(|key| key.columns.iter().any(|own| own == column))
            };
            let chosen = ours.iter().find(|column| {
                !referring(column) && relation.column(column).and_then(Fresh::of).is_some()
            });
            match (chosen, ours.first()) {
                (Some(column), _) => fresh.insert((name.clone(), (*column).to_owned())),
                (None, Some(column)) => return Err(impossible(name, column)),
                (None, None) => continue,
            };
        }
    }
    Ok(fresh)
}

/// Whether an INSERT says what to do about rows that exist.
pub(crate) fn has_on_conflict(sql: &str) -> bool {
    let words: Vec<String> = sql.split_whitespace().map(str::to_ascii_uppercase).collect();
    words.windows(2).any(
        |pair| matches!(pair, [on, conflict] if on == "ON" && conflict.starts_with("CONFLICT")),
    )
}

/// Why a new value can't be made.
pub(crate) fn impossible(relation: &RelationName, column: &str) -> String {
    format!(
        "{column} of {relation} is under a unique index, and no new value can be made for it (a foreign key, or its type); give values with `-- params: [...]` lines"
    )
}

/// Columns that an index is about: its keys, and those its expressions name.
fn key_columns<'a>(index: &'a Index, relation: &'a Relation) -> Vec<&'a str> {
    let mut columns = Vec::new();
    for key in &index.definition.keys {
        match (&key.column, &key.expression) {
            (Some(column), _) => columns.push(column.as_str()),
            (None, Some(expression)) => {
                let words: BTreeSet<&str> =
                    expression.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
                let named = relation.columns.iter().map(|column| column.name.as_str());
                columns.extend(named.filter(|name| words.contains(name)));
            }
            (None, None) => {}
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rand::SeedableRng;

    fn column(type_name: &str) -> Column {
        Column {
            name: "c".into(),
            type_name: type_name.into(),
            not_null: true,
            has_default: false,
            c_collation: None,
            statistics: None,
        }
    }

    #[test]
    fn integers_lie_above_the_greatest_and_within_their_type() {
        let mut random = StdRng::seed_from_u64(1);
        let bigint = Fresh::of(&column("bigint")).unwrap();
        assert_eq!(bigint.value(2, 10, 5, None, &mut random).unwrap(), "1000007");
        let smallint = Fresh::of(&column("smallint")).unwrap();
        assert_eq!(smallint.value(2, 10, 5, None, &mut random).unwrap(), "8");
        assert_eq!(smallint.value(2, 10, 32_766, None, &mut random), None);
    }

    #[test]
    fn texts_keep_their_form_and_their_length() {
        let mut random = StdRng::seed_from_u64(1);
        let text = Fresh::of(&column("character varying(20)")).unwrap();
        let value = text.value(0, 1, 0, Some("bob@example.com"), &mut random).unwrap();
        assert_eq!(value.len(), 20);
        assert!(value.ends_with("bob@exam"), "{value}");
        assert_eq!(Fresh::of(&column("character varying(8)")), None);
        assert_eq!(Fresh::of(&column("boolean")), None);
    }

    #[test]
    fn uuids_are_of_version_4() {
        let mut random = StdRng::seed_from_u64(1);
        let value = Fresh::Uuid.value(0, 1, 0, None, &mut random).unwrap();
        assert_eq!(value.len(), 36);
        assert_eq!(value.as_bytes()[14], b'4');
        assert!(matches!(value.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }
}
