//! How many keys a GIN index has, and how many rows each of them: from the values and elements that statistics list.

use super::parts::{Cut, Part};
use crate::relation::{ColumnStatistics, ElementStatistics};
use std::collections::BTreeMap;

/// A key that so many of the sampled values have is counted by itself; of rarer ones the sample tells how many there
/// are, not how frequent each is.
const COMMON: usize = 4;
/// Sampled values taken from a histogram.
const SAMPLES: usize = 101;
/// Elements that ANALYZE lists at most by default: ten for each of `default_statistics_target`
/// (`compute_array_stats` and `compute_tsvector_stats`). A list nearly as long was cut off by its length.
const LISTED: usize = 900;
/// Rows that ANALYZE reads by default, 300 for each of `default_statistics_target`.
const SAMPLED_ROWS: f64 = 30_000.0;
/// Bytes of text, JSON or lexemes that make one key, where nothing is known of the values: about a word.
const BYTES_PER_PART: f64 = 10.0;
/// What a lexeme takes in a `tsvector` beside its text: its entry, padding, and the count and places of it
/// (`WordEntry`, `WordEntryPosVector` in ts_type.h).
const LEXEME: f64 = 9.0;

/// Keys that are alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Class {
    /// How many there are.
    pub(super) keys: f64,
    /// Share of the rows that has each of them.
    pub(super) share: f64,
    /// Bytes of one.
    pub(super) bytes: f64,
}

impl Class {
    /// How many of the keys a row has.
    pub(super) fn a_row(&self) -> f64 {
        self.keys * self.share
    }
}

/// The keys of `rows` rows.
pub(super) fn census(cut: Cut, statistics: Option<&ColumnStatistics>, rows: f64) -> Vec<Class> {
    let Some(statistics) = statistics else {
        return vec![unknown(cut, 16.0, rows)];
    };
    let filled = 1.0 - statistics.null_fraction;
    let mut classes = match &statistics.elements {
        Some(listed) if matches!(cut, Cut::Elements | Cut::Lexemes) => {
            let mean = listed.mean_count.map(|mean| mean * filled);
            let by_width = lexemes(statistics, listed.width) * filled;
            of_list(listed, mean.unwrap_or(by_width), rows)
        }
        _ if cut == Cut::Whole => vec![of_values(statistics, rows)],
        _ => of_samples(cut, statistics, rows).unwrap_or_else(|| {
            vec![unknown(cut, f64::from(statistics.average_width), rows * filled)]
        }),
    };
    if statistics.null_fraction > 0.0 {
        classes.push(Class { keys: 1.0, share: statistics.null_fraction, bytes: 0.0 });
    }
    classes
}

/// How many lexemes a value of that width has.
fn lexemes(statistics: &ColumnStatistics, text: Option<f64>) -> f64 {
    let each = text.unwrap_or(6.0) + LEXEME;
    ((f64::from(statistics.average_width) - 8.0) / each).max(1.0)
}

/// Where nothing but the width is known: each key as frequent as the square root of the rows, which is as far from
/// one row as from all of them.
fn unknown(cut: Cut, width: f64, rows: f64) -> Class {
    let a_row = match cut {
        Cut::Trigrams => width.max(1.0),
        Cut::Whole => 1.0,
        _ => (width / BYTES_PER_PART).max(1.0),
    };
    let share = 1.0 / rows.max(1.0).sqrt();
    Class {
        keys: a_row / share,
        share,
        bytes: if cut == Cut::Trigrams { 4.0 } else { BYTES_PER_PART },
    }
}

/// A column of plain values.
fn of_values(statistics: &ColumnStatistics, rows: f64) -> Class {
    let keys = statistics.distinct(rows);
    Class {
        keys,
        share: (1.0 - statistics.null_fraction) / keys,
        bytes: f64::from(statistics.average_width),
    }
}

/// Elements that ANALYZE lists, and the others, of which it keeps how many a value has in all.
fn of_list(listed: &ElementStatistics, a_row: f64, rows: f64) -> Vec<Class> {
    let bytes = listed.width.unwrap_or(6.0) + 1.0;
    let mut classes: Vec<Class> =
        listed.frequencies.iter().map(|share| Class { keys: 1.0, share: *share, bytes }).collect();
    let rest = a_row - classes.iter().map(Class::a_row).sum::<f64>();
    if rest > 0.01 * a_row {
        let keys = unlisted(&listed.frequencies, rest, rows).clamp(1.0, (rest * rows).max(1.0));
        classes.push(Class { keys, share: rest / keys, bytes });
    }
    classes
}

/// How many elements are not listed, of which a row has `rest`. A list cut off by its length goes on as it ends: by
/// the power law through its last three quarters, which is flat where all are alike. One that is shorter was cut off
/// where elements got too rare for the sample (`9 ÷ bucket width`): they are at most as frequent as one in the rows
/// read, and at least as one in all rows; the geometric mean is taken.
fn unlisted(frequencies: &[f64], rest: f64, rows: f64) -> f64 {
    let places = frequencies.len();
    let (Some(early), Some(last)) = (frequencies.get(places / 4), frequencies.last()) else {
        return rest * (rows * SAMPLED_ROWS.min(rows)).sqrt();
    };
    if places < LISTED || *last <= 0.0 {
        return rest * (rows * SAMPLED_ROWS.min(rows)).sqrt();
    }
    let exponent = ((early / last).ln() / 4.0_f64.ln()).max(0.0);
    // Σ over k > places of last × (k ÷ places)^−exponent, as an integral, is `rest`.
    let power = 1.0 - exponent;
    let last_place = places as f64;
    if power.abs() < 1e-6 {
        return last_place * ((rest / (last * last_place)).exp() - 1.0);
    }
    let grown = 1.0 + power * rest / (last * last_place);
    if grown <= 0.0 { rest * rows } else { last_place * (grown.powf(1.0 / power) - 1.0) }
}

/// Keys that the values listed in statistics have: the most common ones, each for its share of the rows, and the
/// histogram's bounds, as a sample of all others.
fn of_samples(cut: Cut, statistics: &ColumnStatistics, rows: f64) -> Option<Vec<Class>> {
    #[derive(Default)]
    struct Seen {
        share: f64,
        samples: usize,
        certain: bool,
    }
    let common: f64 = statistics.most_common.iter().map(|(_, share)| share).sum();
    let step = (statistics.histogram.len() / SAMPLES).max(1);
    let sample: Vec<&String> = statistics.histogram.iter().step_by(step).collect();
    let others = (1.0 - statistics.null_fraction - common).max(0.0);
    let each = others / sample.len().max(1) as f64;
    let values = statistics.most_common.iter().map(|(value, share)| (value, *share, true));
    let mut seen: BTreeMap<Part, Seen> = BTreeMap::new();
    let mut orders: BTreeMap<String, Order> = BTreeMap::new();
    let mut read = 0.0;
    for (value, share, certain) in values.chain(sample.iter().map(|value| (*value, each, false))) {
        let Some(parts) = cut.parts(value) else { continue };
        read += share;
        for part in parts {
            if !certain {
                orders.entry(part.group.clone()).or_default().then(&part.text);
            }
            let known = seen.entry(part).or_default();
            known.share += share;
            known.samples += 1;
            known.certain |= certain;
        }
    }
    if read <= 0.0 {
        return None;
    }
    // Values too wide for statistics are taken to be like the others.
    let scale = (1.0 - statistics.null_fraction) / read;
    let mut classes = Vec::new();
    let mut rare: BTreeMap<String, Rare> = BTreeMap::new();
    for (part, known) in seen {
        let share = (known.share * scale).min(1.0);
        if known.certain || known.samples >= COMMON {
            classes.push(Class { keys: 1.0, share, bytes: part.bytes as f64 });
        } else {
            let group = rare.entry(part.group).or_default();
            group.a_row += share;
            group.bytes += part.bytes as f64;
            if let Some(count) = group.seen.get_mut(known.samples.saturating_sub(1)) {
                *count += 1.0;
            }
        }
    }
    let values = statistics.distinct(rows);
    classes.extend(rare.into_iter().map(|(name, group)| {
        let order = orders.get(&name).cloned().unwrap_or_default();
        group.class(rows, values, &order)
    }));
    Some(classes)
}

/// Keys of one group that few sampled values have.
#[derive(Debug, Default)]
struct Rare {
    /// How many of them a row has.
    a_row: f64,
    /// Bytes of all seen.
    bytes: f64,
    /// How many were seen in one value, in two, in three.
    seen: [f64; COMMON - 1],
}

impl Rare {
    /// As many as Chao's estimator says (A. Chao, "Nonparametric estimation of the number of classes in a
    /// population", 1984) without its bias: those seen, and pairs of those seen once ÷ those seen twice. None seen twice:
    /// each row has its own, unless the values are whole numbers from a narrower range, or are what the histogram is
    /// sorted by: its bounds then differ however few values there are, and the geometric mean of what is possible is
    /// taken. Values of which there are `distinct` have no more than so many times their keys.
    fn class(&self, rows: f64, distinct: f64, order: &Order) -> Class {
        let [once, twice, _] = self.seen;
        let seen: f64 = self.seen.iter().sum();
        let postings = (self.a_row * rows).max(1.0);
        let most = postings.min((self.a_row * distinct).max(1.0));
        let keys = if twice > 0.0 {
            seen + once * (once - 1.0) / (2.0 * (twice + 1.0))
        } else if once == 0.0 {
            seen
        } else if let Some(width) = order.width() {
            most.min(width)
        } else if order.sorted {
            (seen * most).sqrt()
        } else {
            most
        };
        let keys = keys.clamp(1.0, most.max(1.0));
        Class { keys, share: self.a_row / keys, bytes: self.bytes / seen.max(1.0) }
    }
}

/// How the keys of one group follow each other along a histogram.
#[derive(Debug, Clone)]
struct Order {
    /// Whether each is no less than the one before.
    sorted: bool,
    /// The least and the greatest, while all are whole numbers.
    bounds: Option<(i64, i64)>,
    last: Option<String>,
}

impl Default for Order {
    fn default() -> Self {
        Order { sorted: true, bounds: Some((i64::MAX, i64::MIN)), last: None }
    }
}

impl Order {
    fn then(&mut self, key: &str) {
        let number: Option<i64> = key.parse().ok();
        self.sorted &= self.last.as_ref().is_none_or(|last| match (last.parse::<i64>(), number) {
            (Ok(last), Some(number)) => last <= number,
            _ => last.as_str() <= key,
        });
        self.bounds = self
            .bounds
            .zip(number)
            .map(|((least, greatest), number)| (least.min(number), greatest.max(number)));
        self.last = Some(key.to_owned());
    }

    /// How many whole numbers there are from the least to the greatest; None: not all are whole numbers.
    fn width(&self) -> Option<f64> {
        let (least, greatest) = self.bounds?;
        (least <= greatest).then_some(greatest as f64 - least as f64 + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(classes: &[Class]) -> f64 {
        classes.iter().map(|class| class.keys).sum()
    }

    fn a_row(classes: &[Class]) -> f64 {
        classes.iter().map(Class::a_row).sum()
    }

    /// 101 documents drawn by a linear congruence, as a histogram holds them.
    fn documents(users: u64) -> ColumnStatistics {
        let value = |draw: u64| {
            format!("{{\"id\": {draw}, \"user\": {}, \"kind\": \"k{}\"}}", draw % users, draw % 3)
        };
        let draws = (0..101_u64).scan(12_345_u64, |state, _| {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            Some(*state >> 33)
        });
        ColumnStatistics {
            histogram: draws.map(value).collect(),
            average_width: 60,
            n_distinct: -1.0,
            ..ColumnStatistics::default()
        }
    }

    #[test]
    fn keys_that_repeat_in_a_sample_tell_how_many_there_are_and_unique_ones_are_as_many_as_rows() {
        let classes = census(Cut::Paths, Some(&documents(1000)), 1e6);
        assert!((a_row(&classes) - 3.0).abs() < 0.01, "{classes:?}");
        // A million ids, about a thousand users, three kinds.
        let users = keys(&classes) - 1e6;
        assert!((300.0..3000.0).contains(&users), "{users}");
    }

    #[test]
    fn a_list_of_elements_that_was_cut_off_goes_on_as_it_ends() {
        let flat = ElementStatistics {
            frequencies: vec![1.0 / 3000.0; 1000],
            width: Some(6.0),
            mean_count: Some(1.0),
        };
        let classes = of_list(&flat, 1.0, 20_000.0);
        assert!((keys(&classes) / 3000.0 - 1.0).abs() < 0.01, "{}", keys(&classes));
        // Of Zipf's law over 10,000 elements, the first 1,000 are listed.
        let sum: f64 = (1..=10_000).map(|place| 1.0 / f64::from(place)).sum();
        let zipf = ElementStatistics {
            frequencies: (1..=1000).map(|place| 1.0 / f64::from(place) / sum).collect(),
            ..flat
        };
        let classes = of_list(&zipf, 1.0, 1e7);
        assert!((keys(&classes) / 10_000.0 - 1.0).abs() < 0.1, "{}", keys(&classes));
    }
}
