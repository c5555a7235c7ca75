//! Shares of rows that conditions let through, from `pg_stats`, as the planner would estimate them.
//!
//! Formulas: manual, chapter "Row Estimation Examples"; defaults: `src/include/utils/selfuncs.h`.

use super::{between, moment};
use pgassay_model::relation::{Column, ColumnStatistics, Relation};
use pgassay_model::workload::WorkloadStatement;
use pgassay_sql::{Condition, Operator, Predicate, StatementShape, Subject, ValueKind};
use std::cmp::Ordering;

/// DEFAULT_EQ_SEL: an equality without statistics.
const EQUAL: f64 = 0.005;
/// DEFAULT_INEQ_SEL: an inequality without statistics.
const INEQUALITY: f64 = 1.0 / 3.0;
/// DEFAULT_RANGE_INEQ_SEL: a range closed on both sides, without statistics.
const CLOSED_RANGE: f64 = 0.005;
/// DEFAULT_MATCH_SEL: a pattern without statistics.
const MATCH: f64 = 0.005;
/// DEFAULT_UNK_SEL: IS NULL without statistics.
const NULL: f64 = 0.005;
/// Length assumed of a list that can't be seen.
const LIST_UNKNOWN: f64 = 3.0;
/// Alternatives of an OR that are estimated one by one.
const MOST_ALTERNATIVES: usize = 500;

/// An estimated share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Share {
    /// 0–1.
    pub share: f64,
    /// Whether statistics of the column stand behind it; otherwise it is a default.
    pub known: bool,
}

/// Rows of a relation: `reltuples`, or live rows where it was never analyzed; at least 1.
pub(super) fn rows(relation: &Relation) -> f64 {
    relation.rows.filter(|rows| *rows > 0.0).unwrap_or(relation.activity.live_rows as f64).max(1.0)
}

/// Distinct values of a subject; None without statistics.
pub(super) fn distinct(relation: &Relation, subject: &Subject) -> Option<f64> {
    let statistics = column_of(relation, subject)?.statistics.as_ref()?;
    Some(statistics.distinct(rows(relation)))
}

/// Share of a relation's rows that all conditions of a mention together let through.
pub(super) fn of_mention(
    relation: &Relation,
    statement: &WorkloadStatement,
    shape: &StatementShape,
    mention: usize,
) -> f64 {
    let always = shape
        .predicates
        .iter()
        .filter(|predicate| predicate.relation == mention && !predicate.in_or);
    let choice = Choice { relation, statement, shape, mention };
    together(relation, statement, always)
        * shape.choices.iter().map(|alternatives| choice.any(alternatives)).product::<f64>()
}

/// An OR as one mention sees it.
struct Choice<'a> {
    relation: &'a Relation,
    statement: &'a WorkloadStatement,
    shape: &'a StatementShape,
    mention: usize,
}

impl Choice<'_> {
    /// s1 + s2 - s1 s2 (`clauselist_selectivity_or`); alternatives behind the first ones are taken to be like these.
    fn any(&self, alternatives: &[Condition]) -> f64 {
        let looked_at = alternatives.len().min(MOST_ALTERNATIVES);
        let none: f64 =
            alternatives.iter().take(looked_at).map(|each| 1.0 - self.share(each)).product();
        let times = alternatives.len() as f64 / looked_at.max(1) as f64;
        (1.0 - none.powf(times)).clamp(0.0, 1.0)
    }

    /// Of what is not known, and of what another mention is asked for, everything is let through.
    fn share(&self, condition: &Condition) -> f64 {
        match condition {
            Condition::Unknown => 1.0,
            Condition::Predicate(_) => self.all(std::slice::from_ref(condition)),
            Condition::All(parts) => self.all(parts),
            Condition::Any(parts) => self.any(parts),
        }
    }

    fn all(&self, parts: &[Condition]) -> f64 {
        let own = parts.iter().filter_map(|part| match part {
            Condition::Predicate(at) => self.shape.predicates.get(*at),
            _ => None,
        });
        let own = own.filter(|predicate| predicate.relation == self.mention);
        let rest = parts.iter().filter(|part| !matches!(part, Condition::Predicate(_)));
        together(self.relation, self.statement, own)
            * rest.map(|part| self.share(part)).product::<f64>()
    }
}

/// Share that several conditions let through: the product, but two bounds of one column are one range
/// (`clauselist_selectivity`).
pub(super) fn together<'p>(
    relation: &Relation,
    statement: &WorkloadStatement,
    predicates: impl Iterator<Item = &'p Predicate>,
) -> f64 {
    let mut share = 1.0;
    let mut ranges: Vec<(&Subject, Share)> = Vec::new();
    for predicate in predicates {
        let estimate = of(relation, statement, predicate);
        match ranges.iter_mut().find(|(subject, _)| {
            predicate.operator == Operator::Range && **subject == predicate.subject
        }) {
            Some((_, first)) => {
                let both = first.known && estimate.known;
                let overlap = first.share + estimate.share - 1.0;
                first.share = if both && overlap > 0.0 { overlap } else { CLOSED_RANGE };
            }
            None if predicate.operator == Operator::Range => {
                ranges.push((&predicate.subject, estimate));
            }
            None => share *= estimate.share,
        }
    }
    (share * ranges.iter().map(|(_, range)| range.share).product::<f64>()).clamp(0.0, 1.0)
}

/// Share that one condition lets through.
pub(super) fn of(
    relation: &Relation,
    statement: &WorkloadStatement,
    predicate: &Predicate,
) -> Share {
    let column = column_of(relation, &predicate.subject);
    let is_column = matches!(predicate.subject, Subject::Column(_));
    let statistics = column.and_then(|column| column.statistics.as_ref());
    let rows = rows(relation);
    let default = |share| Share { share, known: false };
    let Some(statistics) = statistics else {
        return default(match predicate.operator {
            Operator::Equal => EQUAL,
            Operator::In => EQUAL * LIST_UNKNOWN,
            Operator::Range => INEQUALITY,
            Operator::IsNull => NULL,
            Operator::IsNotNull => 1.0 - NULL,
            Operator::NotEqual => 1.0 - EQUAL,
            Operator::PrefixLike | Operator::OtherLike | Operator::Other(_) => MATCH,
        });
    };
    let known = |share: f64| Share { share: share.clamp(0.0, 1.0), known: is_column };
    match predicate.operator {
        Operator::Equal => known(equal(statistics, rows, statement, predicate)),
        Operator::NotEqual => {
            known(1.0 - statistics.null_fraction - equal(statistics, rows, statement, predicate))
        }
        Operator::In => known(
            list_length(statement, predicate) * (1.0 - statistics.null_fraction)
                / statistics.distinct(rows),
        ),
        Operator::IsNull => known(statistics.null_fraction),
        Operator::IsNotNull => known(1.0 - statistics.null_fraction),
        Operator::Range => match range(relation, statistics, statement, predicate) {
            Some(share) => known(share),
            None => default(INEQUALITY),
        },
        Operator::PrefixLike | Operator::OtherLike | Operator::Other(_) => default(MATCH),
    }
}

/// The column of a subject; of an expression the only column it names, whose distribution the planner would
/// find in the expression's own statistics once the index exists.
fn column_of<'r>(relation: &'r Relation, subject: &Subject) -> Option<&'r Column> {
    match subject {
        Subject::Column(name) => relation.column(name),
        Subject::Expression(text) => {
            let mut named = relation.columns.iter().filter(|column| names(text, &column.name));
            let first = named.next()?;
            named.next().is_none().then_some(first)
        }
    }
}

/// Whether a column's name stands in an SQL text as a word.
pub(super) fn names(text: &str, column: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    text.match_indices(column).any(|(at, found)| {
        let before = text.get(..at).unwrap_or_default();
        let after = text.get(at + found.len()..).unwrap_or_default();
        !before.ends_with(word) && !after.starts_with(word)
    })
}

/// `eqsel`: the frequency of a most common value, or the rest shared among the other values; the mean over the
/// parameter sets.
fn equal(
    statistics: &ColumnStatistics,
    rows: f64,
    statement: &WorkloadStatement,
    predicate: &Predicate,
) -> f64 {
    let common: f64 = statistics.most_common.iter().map(|(_, frequency)| frequency).sum();
    let others = (statistics.distinct(rows) - statistics.most_common.len() as f64).max(1.0);
    let rest = (1.0 - statistics.null_fraction - common).max(0.0) / others;
    let one = |value: &str| {
        statistics
            .most_common
            .iter()
            .find(|(common, _)| same_value(common, value))
            .map_or(rest, |(_, frequency)| *frequency)
    };
    let values = values(statement, predicate);
    if values.is_empty() {
        return (1.0 - statistics.null_fraction) / statistics.distinct(rows);
    }
    values.iter().map(|value| one(value)).sum::<f64>() / values.len() as f64
}

/// `pg_stats` shows a boolean as t or f, SQL as true or false.
fn same_value(statistic: &str, value: &str) -> bool {
    statistic == value
        || matches!((statistic, value), ("t", "true" | "on" | "1") | ("f", "false" | "off" | "0"))
}

/// The values a condition compares with: those of the parameter sets, or the constant without quotes and cast.
pub(super) fn values(statement: &WorkloadStatement, predicate: &Predicate) -> Vec<String> {
    match &predicate.value {
        ValueKind::Parameter(number) => statement
            .parameters
            .iter()
            .filter_map(|set| set.get(number.checked_sub(1)?)?.clone())
            .collect(),
        ValueKind::Constant(text) => vec![unquoted(text)],
        ValueKind::Other => Vec::new(),
    }
}

pub(super) fn unquoted(text: &str) -> String {
    match text.strip_prefix('\'').and_then(|rest| rest.rsplit_once('\'')) {
        Some((inner, _)) => inner.replace("''", "'"),
        None => text.split("::").next().unwrap_or(text).to_owned(),
    }
}

fn list_length(statement: &WorkloadStatement, predicate: &Predicate) -> f64 {
    let lengths: Vec<f64> = values(statement, predicate)
        .iter()
        .filter(|value| value.starts_with('{'))
        .map(|value| value.matches(',').count() as f64 + 1.0)
        .collect();
    if lengths.is_empty() {
        LIST_UNKNOWN
    } else {
        lengths.iter().sum::<f64>() / lengths.len() as f64
    }
}

/// `ineq_histogram_selectivity`: where the value lies among the histogram's bounds, on the side the comparison
/// keeps; None without values, a histogram, or a direction.
fn range(
    relation: &Relation,
    statistics: &ColumnStatistics,
    statement: &WorkloadStatement,
    predicate: &Predicate,
) -> Option<f64> {
    let Subject::Column(column) = &predicate.subject else { return None };
    let closed = between::bounds(statement, column);
    if !closed.is_empty() {
        return closed_range(statistics, &closed);
    }
    let (below, values) = match predicate.value {
        ValueKind::Other => {
            let analyzed = relation.activity.last_analyze?;
            let (below, moment) = moment::compared(&statement.sql, column, analyzed)?;
            (below, vec![moment])
        }
        _ => (direction(&statement.sql, column, &predicate.value)?, values(statement, predicate)),
    };
    let buckets = statistics.histogram.len().checked_sub(1).filter(|buckets| *buckets > 0)?;
    if values.is_empty() {
        return None;
    }
    let position = |value: &String| {
        let under = statistics
            .histogram
            .iter()
            .filter(|bound| compare(bound, value) == Ordering::Less)
            .count();
        (under as f64 - 0.5).clamp(0.0, buckets as f64) / buckets as f64
    };
    let under = values.iter().map(position).sum::<f64>() / values.len() as f64;
    let kept = if below { under } else { 1.0 - under };
    let histogram_share =
        1.0 - statistics.null_fraction - statistics.most_common.iter().map(|(_, f)| f).sum::<f64>();
    let common: f64 = statistics
        .most_common
        .iter()
        .map(|(common, frequency)| {
            let matching = values
                .iter()
                .filter(|value| (compare(common, value) == Ordering::Less) == below)
                .count();
            frequency * matching as f64 / values.len() as f64
        })
        .sum();
    // Never exactly nothing: the planner keeps 1 of 10,000 at the histogram's ends.
    Some((kept * histogram_share.max(0.0) + common).max(1e-4))
}

/// What lies between two values, the mean over the pairs: by the histogram, to the nearest half of a bucket.
fn closed_range(statistics: &ColumnStatistics, bounds: &[(String, String)]) -> Option<f64> {
    let buckets = statistics.histogram.len().checked_sub(1).filter(|buckets| *buckets > 0)? as f64;
    let below = |value: &String| {
        let less = |bound: &&String| compare(bound, value) == Ordering::Less;
        (statistics.histogram.iter().filter(less).count() as f64 - 0.5).clamp(0.0, buckets)
    };
    let common: f64 = statistics.most_common.iter().map(|(_, frequency)| frequency).sum();
    let uncommon = (1.0 - statistics.null_fraction - common).max(0.0);
    let share = |(low, high): &(String, String)| {
        let within = |value: &str| compare(low, value).is_le() && compare(value, high).is_le();
        let listed: f64 = statistics
            .most_common
            .iter()
            .filter(|(value, _)| within(value))
            .map(|(_, frequency)| frequency)
            .sum();
        listed + uncommon * (below(high) - below(low)).max(0.5) / buckets
    };
    Some(bounds.iter().map(share).sum::<f64>() / bounds.len() as f64)
}

/// Numbers as numbers, everything else as text (dates in ISO form sort as text).
fn compare(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        _ => a.cmp(b),
    }
}

/// Whether the comparison of a column with a value keeps what lies below it. The shape does not say, so the
/// text is read: `column <`, or with the sides exchanged `$n >`. None where neither stands there.
fn direction(sql: &str, column: &str, value: &ValueKind) -> Option<bool> {
    let compact: String = sql.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
    let compact = compact.to_ascii_lowercase();
    let column = column.to_ascii_lowercase();
    let value = match value {
        ValueKind::Parameter(number) => format!("${number}"),
        ValueKind::Constant(text) => {
            text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase()
        }
        ValueKind::Other => return None,
    };
    for (operator, below) in [("<=", true), ("<", true), (">=", false), (">", false)] {
        if compact.contains(&format!("{column}{operator}{value}")) {
            return Some(below);
        }
        let reversed = format!("{value}{operator}");
        if compact.match_indices(&reversed).any(|(at, text)| {
            let rest = compact.get(at + text.len()..).unwrap_or_default();
            rest.starts_with(&column)
                || rest.split_once('.').is_some_and(|(_, rest)| rest.starts_with(&column))
        }) {
            return Some(!below);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use pgassay_model::index::RelationName;
    use pgassay_model::relation::RelationActivity;
    use pgassay_model::units::Bytes;

    fn relation(statistics: ColumnStatistics) -> Relation {
        Relation {
            oid: 1,
            name: RelationName { schema: "public".into(), name: "t".into() },
            kind: 'r',
            pages: 100,
            rows: Some(10_000.0),
            size: Bytes(0),
            all_visible_pages: 0,
            columns: vec![Column {
                name: "a".into(),
                type_name: "integer".into(),
                not_null: false,
                has_default: false,
                c_collation: None,
                statistics: Some(statistics),
            }],
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            extended_statistics: Vec::new(),
            has_children: false,
            activity: RelationActivity::default(),
        }
    }

    struct One;

    impl pgassay_sql::Catalog for One {
        fn columns(&self, _: Option<&str>, _: &str) -> Option<(RelationName, Vec<String>)> {
            let name = RelationName { schema: "public".into(), name: "t".into() };
            Some((name, vec!["a".into()]))
        }
    }

    fn share(statistics: ColumnStatistics, condition: &str, value: Option<&str>) -> Share {
        let relation = relation(statistics);
        let statement = WorkloadStatement {
            id: "q".into(),
            sql: format!("SELECT 1 FROM t WHERE {condition}"),
            weight: 1.0,
            writes: false,
            parameters: value.map(|value| vec![Some(value.to_owned())]).into_iter().collect(),
            parameter_source: "given".into(),
            ..WorkloadStatement::default()
        };
        let shape = pgassay_sql::shape(&statement.sql, &One).unwrap();
        of(&relation, &statement, shape.predicates.first().unwrap())
    }

    fn histogram() -> ColumnStatistics {
        ColumnStatistics {
            n_distinct: -1.0,
            histogram: (0..=100).map(|bound| (bound * 100).to_string()).collect(),
            ..ColumnStatistics::default()
        }
    }

    #[test]
    fn a_common_value_has_its_frequency_and_the_others_share_the_rest() {
        let statistics = ColumnStatistics {
            n_distinct: 11.0,
            most_common: vec![("7".into(), 0.9)],
            ..ColumnStatistics::default()
        };
        assert_eq!(share(statistics.clone(), "a = 7", None).share, 0.9);
        assert!((share(statistics.clone(), "a = $1", Some("8")).share - 0.01).abs() < 1e-9);
        assert!((share(statistics, "a <> 7", None).share - 0.1).abs() < 1e-9);
    }

    #[test]
    fn a_range_keeps_the_side_of_the_histogram_that_it_names() {
        for (condition, value, expected) in [
            ("a < $1", "1000", 0.095),
            ("a > $1", "1000", 0.905),
            ("$1 > a", "1000", 0.095),
            ("t.a <= $1", "9000", 0.895),
        ] {
            let found = share(histogram(), condition, Some(value));
            assert!(found.known && (found.share - expected).abs() < 1e-6, "{condition}: {found:?}");
        }
    }

    #[test]
    fn between_keeps_what_lies_between_its_bounds() {
        let found = share(histogram(), "a BETWEEN 1000 AND 3000", None);
        assert!(found.known && (found.share - 0.2).abs() < 1e-6, "{found:?}");
        let narrow = share(histogram(), "a BETWEEN 1010 AND 1020", None);
        assert!((narrow.share - 0.005).abs() < 1e-6, "{narrow:?}");
    }

    /// Of `SELECT 1 FROM t WHERE …`.
    fn share_of_all(condition: &str) -> f64 {
        let relation = relation(histogram());
        let sql = format!("SELECT 1 FROM t WHERE {condition}");
        let shape = pgassay_sql::shape(&sql, &One).unwrap();
        let statement = WorkloadStatement { sql, ..WorkloadStatement::default() };
        of_mention(&relation, &statement, &shape, 0)
    }

    #[test]
    fn an_or_keeps_what_its_alternatives_keep_and_one_that_is_not_known_keeps_everything() {
        let of = |condition: &str, expected: f64| {
            let found = share_of_all(condition);
            assert!((found - expected).abs() < 1e-6 * expected, "{condition}: {found}");
        };
        let one = 1.0 / 10_000.0;
        of("a = 1 OR a = 2", 2.0 * one - one * one);
        of("(a = 1 AND a <> 7) OR a = 2", 1.0 - (1.0 - one * (1.0 - one)) * (1.0 - one));
        of("a = 5 AND (a = 1 OR a = 2)", one * (2.0 * one - one * one));
        of("a = 1 OR (a = 2 AND (a = 3 OR random() > 0))", 2.0 * one - one * one);
        of("a = 1 OR random() > 0.5", 1.0);
        of("a = 1 OR NOT (a = 2)", 1.0);
        let many: Vec<String> = (0..5_000).map(|i| format!("(a = {i} AND a <> 70000)")).collect();
        of(&many.join(" OR "), 1.0 - (1.0 - one * (1.0 - one)).powi(5_000));
    }

    #[test]
    fn what_no_statistics_tell_is_the_planners_default_and_says_so() {
        assert_eq!(
            share(histogram(), "a < 3 + random()", None),
            Share { share: INEQUALITY, known: false }
        );
        let unknown = share(histogram(), "a @> $1", Some("1"));
        assert_eq!(unknown, Share { share: MATCH, known: false });
    }
}
