//! Which statements of two observations can be compared, with which weights; and what can't, by name and share.

use crate::passive::plain;
use crate::weights;
use pgassay_model::observation::{Bucket, Observation, StatementActivity};
use std::collections::{BTreeMap, BTreeSet};

/// Rows per call that change by this factor: the statement now answers another question, and is not compared.
pub(crate) const ROWS_FACTOR: f64 = 2.0;
/// Rows per call below which they don't matter.
pub(crate) const FEW_ROWS: f64 = 0.1;
/// Blocks per call that change by this factor are named: another plan, or other data.
const BLOCKS_FACTOR: f64 = 1.5;
/// Share of the time from which on a statement is named.
const NAMED: f64 = 0.01;
/// Most statements named in one line.
const MOST_NAMED: usize = 5;
/// Share of the compared statements' weight that a bucket must hold to have an index.
pub(crate) const LEAST_PRESENT: f64 = 0.5;

/// Statements compared, and the rest.
pub(crate) struct Mix<'a> {
    /// Share of the server time before, by key, of the statements compared.
    shares: BTreeMap<&'a str, f64>,
    /// Their sum.
    pub(crate) share: f64,
    names: BTreeMap<&'a str, String>,
    ids: BTreeMap<&'a str, &'a str>,
    /// Of the time before: statements that did not run after.
    vanished: Vec<(&'a str, f64)>,
    /// Of the time after: statements that did not run before.
    new: Vec<(&'a str, f64)>,
    /// Of the time before: statements missing in more than half of the buckets of a side.
    rare: Vec<(&'a str, f64)>,
    /// Of the time before: statements that return another number of rows; with rows per call before and after.
    rows: Vec<(&'a str, f64, f64, f64)>,
}

impl<'a> Mix<'a> {
    /// Sorts the statements; the shares are those of `pre`.
    pub(crate) fn of(
        pre: &'a Observation,
        before: &'a Observation,
        after: &'a Observation,
    ) -> Self {
        let (names, ids) = names([pre, before, after]);
        let (total, total_after) = (pre.total_ms(), after.total_ms());
        let (totals_pre, totals_after) = (pre.totals(), after.totals());
        let (present_before, present_after) = (presence(before), presence(after));
        let often = |present: &BTreeMap<&str, usize>, key: &str, side: &Observation| {
            present.get(key).is_some_and(|count| count * 2 >= side.buckets.len())
        };
        let mut mix = Mix {
            shares: BTreeMap::new(),
            share: 0.0,
            names,
            ids,
            vanished: Vec::new(),
            new: Vec::new(),
            rare: Vec::new(),
            rows: Vec::new(),
        };
        let keys: BTreeSet<&str> = totals_pre.keys().chain(totals_after.keys()).copied().collect();
        for key in keys {
            let share = totals_pre.get(key).map_or(0.0, |own| own.time_ms / total);
            let ran_after = totals_after.get(key);
            if !totals_pre.contains_key(key) {
                let own = ran_after.map_or(0.0, |own| own.time_ms);
                mix.new.push((key, if total_after > 0.0 { own / total_after } else { 0.0 }));
            } else if ran_after.is_none() {
                mix.vanished.push((key, share));
            } else if !often(&present_before, key, before) || !often(&present_after, key, after) {
                mix.rare.push((key, share));
            } else if let Some((rows_before, rows_after)) = rows_moved(key, before, after) {
                mix.rows.push((key, share, rows_before, rows_after));
            } else if share > 0.0 {
                mix.shares.insert(key, share);
            }
        }
        mix.share = mix.shares.values().sum();
        mix
    }

    /// Keys of the statements compared.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.shares.keys().copied()
    }

    /// What a statement is called.
    pub(crate) fn name(&self, key: &str) -> &str {
        self.names.get(key).map_or("?", String::as_str)
    }

    /// The names of each id.
    pub(crate) fn names(&self) -> BTreeMap<String, Vec<String>> {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, name) in &self.names {
            if let Some(id) = self.ids.get(key) {
                names.entry((*id).to_owned()).or_default().push(name.clone());
            }
        }
        names
    }

    /// The index of each bucket of a side, milliseconds; NaN where a bucket holds too few of the statements.
    pub(crate) fn indexes(&self, side: &Observation) -> Vec<f64> {
        let typical = typical(side, &self.shares);
        side.buckets
            .iter()
            .map(|bucket| index(bucket, &self.shares, &typical).map_or(f64::NAN, f64::exp))
            .collect()
    }

    /// In words, why the statements compared do not speak for the load.
    pub(crate) fn too_little(&self, least: f64) -> Option<String> {
        let new = sum(&self.new);
        if self.share < least {
            let share = plain(self.share);
            return Some(format!(
                "only {share} of the server time before is of statements that can be compared"
            ));
        }
        (new > 1.0 - least).then(|| {
            format!(
                "{} of the server time after is of statements that did not run before",
                plain(new)
            )
        })
    }

    /// What was not compared and what changed besides speed, a line each.
    pub(crate) fn notes(&self, before: &Observation, after: &Observation) -> Vec<String> {
        let mut notes = Vec::new();
        let mut list = |found: &[(&'a str, f64)], what: &str| {
            if !found.is_empty() {
                notes.push(format!(
                    "not compared: {} with {} {what}{}",
                    match found.len() {
                        1 => "1 statement".to_owned(),
                        count => format!("{count} statements"),
                    },
                    plain(sum(found)),
                    self.largest(found)
                ));
            }
        };
        list(&self.vanished, "of the server time before, which did not run after");
        list(&self.new, "of the server time after, which did not run before");
        list(
            &self.rare,
            "of the server time before, which ran in less than half of the buckets of a side",
        );
        for (key, share, rows_before, rows_after) in &self.rows {
            notes.push(format!(
                "{} ({} of the server time before) returns another number of rows, which no change of ours causes: {} → {} per call; it is not compared",
                self.name(key),
                plain(*share),
                figure(*rows_before),
                figure(*rows_after)
            ));
        }
        for (key, _) in self.shares.iter().filter(|(_, share)| **share >= NAMED) {
            let blocks = |side| typical_of(side, key, StatementActivity::blocks_per_call);
            if let (Some(x), Some(y)) = (blocks(before), blocks(after))
                && moved(x.max(1.0), y.max(1.0), BLOCKS_FACTOR)
            {
                notes.push(format!(
                    "{}: {} → {} blocks touched per call: another plan, or other data",
                    self.name(key),
                    figure(x),
                    figure(y)
                ));
            }
        }
        notes
    }

    /// `: q1 12 %, q2 3 %`, the largest.
    fn largest(&self, found: &[(&'a str, f64)]) -> String {
        let mut large: Vec<_> = found.iter().filter(|(_, share)| *share >= NAMED).collect();
        large.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let named: Vec<String> = large
            .iter()
            .take(MOST_NAMED)
            .map(|(key, share)| format!("{} {}", self.name(key), plain(*share)))
            .collect();
        if named.is_empty() { String::new() } else { format!(": {}", named.join(", ")) }
    }
}

/// What each statement is called, and its id: the id alone where that is unique, with queryid and role where the
/// same text in another role, or with a list of another length, makes it several.
fn names<'a>(
    sides: [&'a Observation; 3],
) -> (BTreeMap<&'a str, String>, BTreeMap<&'a str, &'a str>) {
    let mut statements = BTreeMap::new();
    for side in sides {
        statements.extend(side.statements.iter().map(|(key, one)| (key.as_str(), one)));
    }
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for one in statements.values() {
        *count.entry(one.id.as_str()).or_default() += 1;
    }
    let name = |(key, one): (&&'a str, &&'a pgassay_model::observation::ObservedStatement)| {
        let unique = count.get(one.id.as_str()).is_some_and(|count| *count == 1);
        let name = if unique {
            one.id.clone()
        } else {
            format!("{} (queryid {}, role {})", one.id, one.queryid, one.user)
        };
        (*key, name)
    };
    (
        statements.iter().map(name).collect(),
        statements.iter().map(|(key, one)| (*key, one.id.as_str())).collect(),
    )
}

/// In how many buckets each statement ran.
pub(crate) fn presence(side: &Observation) -> BTreeMap<&str, usize> {
    let mut present: BTreeMap<&str, usize> = BTreeMap::new();
    for key in side.buckets.iter().flat_map(|bucket| bucket.statements.keys()) {
        *present.entry(key).or_default() += 1;
    }
    present
}

/// Σ w·ln m of a bucket, the weights made to sum to 1; a statement that it lacks takes its typical value, since
/// leaving a slow one out would make the bucket look fast. None where it lacks too much.
pub(crate) fn index(
    bucket: &Bucket,
    weights: &BTreeMap<&str, f64>,
    typical: &BTreeMap<&str, f64>,
) -> Option<f64> {
    let (mut sum, mut whole, mut present) = (0.0, 0.0, 0.0);
    for (key, weight) in weights {
        let own = bucket.statements.get(*key).and_then(logarithm);
        if own.is_some() {
            present += weight;
        }
        sum += weight * own.or_else(|| typical.get(key).copied())?;
        whole += weight;
    }
    (whole > 0.0 && present >= LEAST_PRESENT * whole).then(|| sum / whole)
}

/// ln of a statement's mean time in a bucket.
fn logarithm(own: &StatementActivity) -> Option<f64> {
    own.mean_ms().filter(|mean| *mean > 0.0).map(f64::ln)
}

/// Median over the buckets of ln of each statement's mean time.
pub(crate) fn typical<'a>(
    side: &Observation,
    weights: &BTreeMap<&'a str, f64>,
) -> BTreeMap<&'a str, f64> {
    weights.keys().filter_map(|key| Some((*key, typical_of(side, key, logarithm)?))).collect()
}

/// Median over the buckets in which a statement ran.
pub(crate) fn typical_of(
    side: &Observation,
    key: &str,
    value: impl Fn(&StatementActivity) -> Option<f64>,
) -> Option<f64> {
    let values: Vec<f64> =
        side.buckets.iter().filter_map(|bucket| value(bucket.statements.get(key)?)).collect();
    weights::median(&values)
}

/// Rows per call before and after, where they differ by [`ROWS_FACTOR`].
fn rows_moved(key: &str, before: &Observation, after: &Observation) -> Option<(f64, f64)> {
    let rows = |side| typical_of(side, key, StatementActivity::rows_per_call);
    let (x, y) = (rows(before)?, rows(after)?);
    moved(x.max(FEW_ROWS), y.max(FEW_ROWS), ROWS_FACTOR).then_some((x, y))
}

pub(crate) fn moved(before: f64, after: f64, factor: f64) -> bool {
    after >= before * factor || after * factor <= before
}

fn sum(found: &[(&str, f64)]) -> f64 {
    found.iter().map(|(_, share)| share).sum()
}

fn figure(value: f64) -> String {
    if value >= 10.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
