//! Values from the planner's statistics, by frequency, where rows can't be read.
//!
//! Columns are drawn independently of each other: pg_stats knows no pairs.

use crate::plan::{Group, Output};
use crate::sample::{SAMPLE_ROWS, SampledRow};
use pgassay_model::relation::{ColumnStatistics, Relation};
use pgassay_sql::Subject;
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeMap;

/// Rows made of most common values and bounds of histograms; None where a column has neither.
///
/// `most_common_freqs` are shares of all rows; what neither they nor `null_frac` cover is spread evenly over
/// the histogram, whose buckets hold the same number of rows (manual, pg_stats).
pub(crate) fn rows(
    relation: &Relation,
    group: &Group,
    random: &mut StdRng,
) -> Option<Vec<SampledRow>> {
    (0..SAMPLE_ROWS)
        .map(|_| {
            let mut drawn = BTreeMap::new();
            group.outputs.iter().map(|output| value(relation, output, &mut drawn, random)).collect()
        })
        .collect()
}

/// Value of one output; two outputs of one column in one row are of one draw.
fn value(
    relation: &Relation,
    output: &Output,
    drawn: &mut BTreeMap<Subject, (String, String)>,
    random: &mut StdRng,
) -> Option<Option<String>> {
    let Subject::Column(column) = &output.subject else { return None };
    if !drawn.contains_key(&output.subject) {
        let column = relation.column(column)?;
        if !same_type(&column.type_name, &output.type_name) {
            return None;
        }
        let statistics = column.statistics.as_ref()?;
        drawn.insert(output.subject.clone(), draw(statistics, random)?);
    }
    let (value, next) = drawn.get(&output.subject)?;
    Some(Some(if output.next { next } else { value }.clone()))
}

/// Whether values of a column are values of a parameter, as text; nothing casts them here.
fn same_type(column: &str, parameter: &str) -> bool {
    let plain = |name: &str| match name.split_once('(') {
        Some((before, rest)) => {
            format!("{before}{}", rest.split_once(')').map_or("", |(_, after)| after))
        }
        None => name.to_owned(),
    };
    let texts = ["text", "character varying", "character", "bpchar", "citext"];
    let (column, parameter) = (plain(column), plain(parameter));
    column == parameter || [&column, &parameter].iter().all(|name| texts.contains(&name.as_str()))
}

/// A value, and the next greater one that the statistics know.
fn draw(statistics: &ColumnStatistics, random: &mut StdRng) -> Option<(String, String)> {
    let common: f64 = statistics.most_common.iter().map(|(_, share)| share).sum();
    let histogram = if statistics.histogram.len() < 2 {
        0.0
    } else {
        (1.0 - statistics.null_fraction - common).max(0.0)
    };
    let mut point = random.random_range(0.0..1.0) * (common + histogram);
    for (value, share) in &statistics.most_common {
        point -= share;
        if point < 0.0 {
            return Some((value.clone(), value.clone()));
        }
    }
    if histogram > 0.0 {
        let bucket = random.random_range(0..statistics.histogram.len() - 1);
        let bound = |index: usize| statistics.histogram.get(index).cloned();
        return Some((bound(bucket)?, bound(bucket + 1)?));
    }
    statistics.most_common.last().map(|(value, _)| (value.clone(), value.clone()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn values_come_as_often_as_the_statistics_say() {
        let statistics = ColumnStatistics {
            null_fraction: 0.5,
            most_common: vec![("a".into(), 0.25), ("b".into(), 0.125)],
            histogram: vec!["c".into(), "d".into(), "e".into()],
            ..ColumnStatistics::default()
        };
        let mut random = StdRng::seed_from_u64(7);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..8000 {
            *counts.entry(draw(&statistics, &mut random).unwrap().0).or_default() += 1;
        }
        let near = |value: &str, expected: usize| counts[value].abs_diff(expected) < 200;
        assert!(near("a", 4000) && near("b", 2000) && near("c", 1000) && near("d", 1000));
    }

    #[test]
    fn lengths_do_not_make_types_differ() {
        assert!(same_type("timestamp(3) with time zone", "timestamp with time zone"));
        assert!(same_type("character varying(20)", "text"));
        assert!(!same_type("numeric(8,2)", "integer"));
    }

    #[test]
    fn a_column_without_values_gives_none() {
        let mut random = StdRng::seed_from_u64(7);
        assert_eq!(draw(&ColumnStatistics::default(), &mut random), None);
    }
}
