//! Sets of values put together from sampled rows.

use crate::plan::{Cell, Draw, LIST_LENGTH, Plan};
use crate::sample::SampledRow;
use pgassay_model::index::RelationName;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};

/// Greatest values by column.
pub(crate) type Greatest = BTreeMap<(RelationName, String), i128>;

/// Sampled rows of each group, with the greatest values of columns that need new ones.
pub(crate) struct Material {
    /// Rows of each group of the plan, none where the relation is empty.
    pub rows: Vec<Vec<SampledRow>>,
    /// Of the columns whose new values are numbers.
    pub greatest: Greatest,
}

impl Material {
    fn cell(&self, cell: Cell, set: usize) -> Option<Option<&str>> {
        let rows = self.rows.get(cell.group).filter(|rows| !rows.is_empty())?;
        let row = rows.get((set + cell.lane) % rows.len())?;
        row.get(cell.output).map(Option::as_deref)
    }
}

/// The sets; None where a value is missing.
pub(crate) fn sets(
    plan: &Plan,
    material: &Material,
    random: &mut StdRng,
) -> Option<Vec<Vec<Option<String>>>> {
    let count = material.rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
    (0..count)
        .map(|set| {
            let mut made = 0;
            plan.draws
                .iter()
                .map(|draw| match draw {
                    Draw::Constant(text) => Some(Some(text.clone())),
                    Draw::Row(cell) => Some(material.cell(*cell, set)?.map(str::to_owned)),
                    Draw::List { cell, delimiter } => {
                        let values: BTreeSet<&str> = (0..LIST_LENGTH)
                            .filter_map(|further| material.cell(*cell, set + further)?)
                            .collect();
                        material.cell(*cell, set)?;
                        Some(Some(array_literal(&values, delimiter)))
                    }
                    Draw::Fresh { fresh, relation, column, like } => {
                        let key = (relation.clone(), column.clone());
                        let greatest = material.greatest.get(&key).copied().unwrap_or(0);
                        let like = material.cell(*like, set).flatten();
                        // Several rows of one INSERT need several numbers.
                        let rows = plan.draws.len();
                        let number = set * rows + made;
                        made += 1;
                        fresh.value(number, count * rows, greatest, like, random).map(Some)
                    }
                })
                .collect()
        })
        .collect()
}

/// An array as its type's input takes it (manual, section 8.15.6): every element in double quotes.
fn array_literal<'a>(values: impl IntoIterator<Item = &'a &'a str>, delimiter: &str) -> String {
    let quoted: Vec<String> = values
        .into_iter()
        .map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    format!("{{{}}}", quoted.join(delimiter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_arrays_are_quoted() {
        assert_eq!(array_literal(&["a,b", "NULL", "\"\\", ""], ","), r#"{"a,b","NULL","\"\\",""}"#);
    }
}
