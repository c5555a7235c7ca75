//! Bounds of ranges in disguise: other numbers, dates and times in the same order.

use super::decimals::Decimal;
use super::moments::{self, DAY};
use super::values::{Disguise, Kind};
use std::collections::BTreeSet;

/// Digits after the point that bounds of ranges over `numeric` are given.
const BOUND_SCALE: u32 = 6;

impl Disguise {
    /// A value for a bound of a range, in the same order as those of the others: numbers with as many digits, dates
    /// and times of the same year. Two that are near each other may become one. None: the kind has no such values.
    pub fn bound(&self, kind: Kind, value: &str) -> Option<String> {
        if self.spelled.contains(value) {
            return Some(value.to_owned());
        }
        match kind {
            Kind::Integer => {
                let number: i64 = value.trim().parse().ok()?;
                let bound = i64::try_from(self.in_order(number.unsigned_abs())).ok()?;
                Some(if number < 0 { -bound } else { bound }.to_string())
            }
            Kind::Numeric => {
                let decimal = Decimal::read(value)?;
                let digits = self.in_order(decimal.at_scale(BOUND_SCALE)?);
                Some(Decimal { digits, scale: BOUND_SCALE, ..decimal }.to_string())
            }
            Kind::Date => {
                let days = moments::days(value)?;
                moments::date_of(self.in_year(days, moments::year_of(days)?, "date")?)
            }
            Kind::Timestamp => moments::local_of(self.bound_of_time(moments::local(value)?)?),
            Kind::TimestampTz => {
                let moment = self.bound_of_time(moments::moment(value, self.utc)?)?;
                Some(format!("{}+00", moments::local_of(moment)?))
            }
            _ => None,
        }
    }

    fn bound_of_time(&self, micros: i64) -> Option<i64> {
        let (first, next) = moments::year_of(micros.div_euclid(DAY as i64))?;
        self.in_year(micros, (first * DAY as i64, next * DAY as i64), "time")
    }

    fn in_year(&self, value: i64, (first, next): (i64, i64), what: &str) -> Option<i64> {
        let within = u64::try_from(value - first).ok()?;
        let length = u64::try_from(next - first).ok()?;
        let moved = self.monotone(&format!("{what} {first}"), within, 0, length);
        Some(first + i64::try_from(moved).ok()?)
    }

    /// A number with as many digits that fits the same types, in the same order.
    fn in_order(&self, value: u64) -> u64 {
        if value == 0 {
            return 0;
        }
        let tens = (0..19).map(|power| 10_u64.pow(power));
        let cuts: BTreeSet<u64> = tens.chain([0x8000, 0x8000_0000, 1 << 63]).collect();
        let low = cuts.range(..=value).next_back().copied().unwrap_or(1);
        let high = cuts.range(value + 1..).next().copied().unwrap_or(u64::MAX);
        self.monotone("number", value, low, high)
    }

    /// A number of the same range `[low, high)` that is not less for a greater `value`: halves of the range become
    /// parts of another size, again and again, as the key has it.
    fn monotone(&self, domain: &str, value: u64, low: u64, high: u64) -> u64 {
        let (mut from, mut to, mut least, mut most) = (low, high, low, high);
        while to - from > 1 && most - least > 1 {
            let middle = from + (to - from) / 2;
            let hash = self.hash(domain, &[from.to_le_bytes(), to.to_le_bytes()].concat());
            let drawn = hash.first_chunk().map_or(0, |bytes: &[u8; 8]| u64::from_le_bytes(*bytes));
            let half = (most - least) / 2;
            let part = least + half - half / 2 + drawn % (half + 1);
            if value < middle {
                (to, most) = (middle, part)
            } else {
                (from, least) = (middle, part)
            }
        }
        least
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn disguise(seed: u64) -> Disguise {
        Disguise::new(&mut StdRng::seed_from_u64(seed), BTreeSet::new(), true)
    }

    #[test]
    fn bounds_of_ranges_keep_their_order_and_their_form() {
        let disguise = disguise(6);
        let of = |kind, value: &str| disguise.bound(kind, value).unwrap();
        let numbers: Vec<i64> =
            [-70_000, -5, 0, 3, 9, 10, 99, 150, 151, 32_767, 32_768, 5_000_000_000]
                .iter()
                .map(|number: &i64| of(Kind::Integer, &number.to_string()).parse().unwrap())
                .collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert!(numbers[9] <= 32_767 && numbers[10] > 32_767, "{numbers:?}");
        let decimals: Vec<f64> = ["-1.5", "0.001", "1.25", "1.3", "17", "17.01"]
            .iter()
            .map(|number| of(Kind::Numeric, number).parse().unwrap())
            .collect();
        assert!(decimals.is_sorted(), "{decimals:?}");
        let texts = |kind, values: &[&str]| -> Vec<String> {
            values.iter().map(|value| of(kind, value)).collect()
        };
        let dates = texts(
            Kind::Date,
            &["1987-06-05", "2024-01-02", "2024-02-01", "2024-12-31", "2025-01-01"],
        );
        assert!(
            dates.is_sorted() && dates[1].starts_with("2024") && dates[3].starts_with("2024"),
            "{dates:?}"
        );
        let times = ["2024-06-05 12:00:00", "2024-06-05 12:00:01", "2024-06-06"];
        let times = texts(Kind::TimestampTz, &times);
        assert!(times.is_sorted() && times[0] != "2024-06-05 12:00:00+00", "{times:?}");
        assert_eq!(disguise.bound(Kind::Text, "a"), None);
    }
}
