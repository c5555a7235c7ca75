//! Values in disguise: a pseudonym that is the same wherever the value stands, for what planners look up by equality,
//! a value in the same order for bounds of ranges over numbers, dates and times, and a value of the same form for
//! everything else.
//!
//! The key is made for one export and kept nowhere, so a pseudonym can't be found by trying values. It can be
//! guessed by its frequency where that is known from elsewhere.

use super::decimals::Decimal;
use super::moments::{self, DAY, DAYS_AFTER, DAYS_BEFORE};
use rand::Rng;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// How often another value of the same form is drawn.
const TRIES: u64 = 16;

/// Types whose values have pseudonyms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `smallint`, `integer`, `bigint`: the same number has the same pseudonym in each.
    Integer,
    /// `numeric`: a whole number has the pseudonym that it has as an integer.
    Numeric,
    /// `text`, `character varying`.
    Text,
    /// `character`: spaces at the end don't count.
    Padded,
    /// `citext`: case does not count.
    Folded,
    /// `uuid`.
    Uuid,
    /// `date`.
    Date,
    /// `timestamp without time zone`.
    Timestamp,
    /// `timestamp with time zone`.
    TimestampTz,
    /// `boolean`: there is nothing to hide in it.
    Boolean,
}

/// The kind of a type by its name as `format_type` writes it; None: its values have no pseudonyms.
pub fn kind(type_name: &str) -> Option<Kind> {
    let plain = type_name.split('(').next().unwrap_or_default().trim();
    if type_name.ends_with("[]") {
        return None;
    }
    if plain.starts_with("timestamp") {
        // The precision stands in the middle: `timestamp(3) with time zone`.
        let zoned = type_name.ends_with(" with time zone");
        return Some(if zoned { Kind::TimestampTz } else { Kind::Timestamp });
    }
    match plain.rsplit('.').next().unwrap_or_default() {
        "smallint" | "integer" | "bigint" => Some(Kind::Integer),
        "numeric" => Some(Kind::Numeric),
        "date" => Some(Kind::Date),
        "text" | "character varying" => Some(Kind::Text),
        "character" => Some(Kind::Padded),
        "citext" => Some(Kind::Folded),
        "uuid" => Some(Kind::Uuid),
        "boolean" => Some(Kind::Boolean),
        _ => None,
    }
}

/// The disguises of one export.
pub struct Disguise {
    key: [u8; 32],
    /// What the schema spells out itself: constants of checks, predicates and bounds, and labels of enum types.
    pub(super) spelled: BTreeSet<String>,
    /// Whether times without an offset are of UTC to the server.
    pub(super) utc: bool,
}

impl Disguise {
    /// With a key of its own.
    pub fn new(random: &mut impl Rng, spelled: BTreeSet<String>, utc: bool) -> Self {
        let mut key = [0; 32];
        random.fill_bytes(&mut key);
        Disguise { key, spelled, utc }
    }

    /// The pseudonym of a value; None where the text is no value of the kind.
    pub fn pseudonym(&self, kind: Kind, value: &str) -> Option<String> {
        if self.spelled.contains(value) {
            return Some(value.to_owned());
        }
        Some(match kind {
            Kind::Boolean => value.to_owned(),
            Kind::Integer => self.integer(value.trim().parse().ok()?).to_string(),
            Kind::Numeric => self.numeric(Decimal::read(value)?)?.to_string(),
            Kind::Date | Kind::Timestamp | Kind::TimestampTz if moments::is_infinite(value) => {
                value.to_owned()
            }
            Kind::Date => moments::date_of(self.days(moments::days(value)?)?)?,
            Kind::Timestamp => moments::local_of(self.micros(moments::local(value)?)?)?,
            Kind::TimestampTz => {
                let moment = moments::moment(value, self.utc)?;
                format!("{}+00", moments::local_of(self.micros(moment)?)?)
            }
            Kind::Text => self.text(value),
            Kind::Padded => self.text(value.trim_end_matches(' ')),
            Kind::Folded => self.text(&value.to_lowercase()),
            Kind::Uuid => {
                let digits: String = value.chars().filter(char::is_ascii_hexdigit).collect();
                let hash = self.hexadecimal("uuid", &digits.to_lowercase());
                if digits.len() != 32 {
                    return None;
                }
                let part = |from: usize, to: usize| hash.get(from..to).unwrap_or_default();
                [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
            }
        })
    }

    /// A value of the same form.
    pub fn same_form(&self, value: &str) -> String {
        if self.spelled.contains(value) {
            return value.to_owned();
        }
        let seed = self.key.first_chunk().map_or(0, |bytes: &[u8; 8]| u64::from_le_bytes(*bytes));
        // By chance it may be the value itself; of some forms there is no other.
        let others = (0..TRIES).map(|n| pgassay_workload::mask(value, seed.wrapping_add(n)));
        let mut others = others.skip_while(|other| other == value);
        self.keys_in_disguise(others.next().unwrap_or_else(|| value.to_owned()))
    }

    /// A document whose keys are pseudonyms, but for those that the schema spells out; other texts as they are.
    fn keys_in_disguise(&self, text: String) -> String {
        let document = text.trim_start().starts_with(['{', '[']) && text.contains(':');
        match serde_json::from_str::<Value>(&text) {
            Ok(value) if document => self.renamed(value).to_string(),
            _ => text,
        }
    }

    fn renamed(&self, value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(key, value)| {
                    let kept = self.spelled.contains(&key);
                    (if kept { key } else { self.text(&key) }, self.renamed(value))
                });
                Value::Object(fields.collect())
            }
            Value::Array(elements) => {
                Value::Array(elements.into_iter().map(|element| self.renamed(element)).collect())
            }
            other => other,
        }
    }

    fn text(&self, value: &str) -> String {
        let hash = self.hexadecimal("text", value);
        format!("v{}", hash.get(..23).unwrap_or_default())
    }

    fn hexadecimal(&self, domain: &str, value: &str) -> String {
        self.hash(domain, value.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn hash(&self, domain: &str, value: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(domain.as_bytes());
        hash.update([0]);
        hash.update(value);
        hash.finalize().into()
    }

    /// A number of the same sign and the same range (2, 4 or 8 bytes), another for each.
    fn integer(&self, value: i64) -> i64 {
        let magnitude = value.unsigned_abs();
        let (low, high, half): (u64, u64, u32) = match magnitude {
            // It has no sign to keep, and says little.
            0 => return value,
            1..0x8000 => (1, 0x8000, 8),
            0x8000..0x8000_0000 => (0x8000, 0x8000_0000, 16),
            0x8000_0000..0x8000_0000_0000_0000 => (0x8000_0000, 0x8000_0000_0000_0000, 32),
            // The least number of all is by itself.
            _ => return value,
        };
        signed(value < 0, self.walked(magnitude, half, |other| (low..high).contains(&other)))
    }

    /// A number with as many digits before and after the point, another for each.
    fn numeric(&self, number: Decimal) -> Option<Decimal> {
        if number.scale == 0 {
            let digits = self.integer(i64::try_from(number.digits).ok()?);
            return Some(Decimal { digits: digits.unsigned_abs(), ..number });
        }
        let low = 10_u64.pow(number.digits.ilog10());
        let half = (64 - (low * 10).leading_zeros()).div_ceil(2);
        // With a nought at its end it would have fewer digits after the point, where others are.
        let digits = self.walked(number.digits, half, |other| {
            (low..low * 10).contains(&other) && other % 10 != 0
        });
        Some(Decimal { digits, ..number })
    }

    /// A day on the same side of 2000-01-01, near days near it.
    fn days(&self, days: i64) -> Option<i64> {
        let end = if days < 0 { DAYS_BEFORE + 1 } else { DAYS_AFTER };
        let (low, high, half) = match days.unsigned_abs() {
            0 => return Some(0),
            1..0x8000 => (1, 0x8000, 8),
            magnitude if magnitude < end => (0x8000, end, 11),
            _ => return None,
        };
        let other = self.walked(days.unsigned_abs(), half, |other| (low..high).contains(&other));
        Some(signed(days < 0, other))
    }

    /// A moment on the same side of 2000-01-01.
    fn micros(&self, micros: i64) -> Option<i64> {
        let end = if micros < 0 { DAYS_BEFORE * DAY + 1 } else { DAYS_AFTER * DAY };
        let magnitude = micros.unsigned_abs();
        if magnitude == 0 || magnitude >= end {
            return (magnitude == 0).then_some(0);
        }
        let other = self.walked(magnitude, 29, |other| (1..end).contains(&other));
        Some(signed(micros < 0, other))
    }

    /// A permutation of the bits (four rounds of a Feistel network), walked until it is among the numbers that are
    /// wanted again: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002. `value` is one of them.
    fn walked(&self, value: u64, half: u32, wanted: impl Fn(u64) -> bool) -> u64 {
        let mut permuted = value;
        loop {
            permuted = self.permute(permuted, half);
            if wanted(permuted) {
                return permuted;
            }
        }
    }

    fn permute(&self, value: u64, half: u32) -> u64 {
        let mask = (1_u64 << half) - 1;
        let (mut left, mut right) = (value >> half & mask, value & mask);
        for round in 0..4_u8 {
            let mut input = [0; 10];
            let (rest, number) = input.split_at_mut(2);
            rest.copy_from_slice(&[round, half as u8]);
            number.copy_from_slice(&right.to_le_bytes());
            let hash = self.hash("integer", &input);
            let word = hash.first_chunk().map_or(0, |bytes: &[u8; 8]| u64::from_le_bytes(*bytes));
            (left, right) = (right, left ^ (word & mask));
        }
        left << half | right
    }
}

fn signed(negative: bool, magnitude: u64) -> i64 {
    let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
    if negative { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::collections::HashSet;

    fn disguise(seed: u64) -> Disguise {
        Disguise::new(&mut StdRng::seed_from_u64(seed), BTreeSet::from(["open".to_owned()]), true)
    }

    #[test]
    fn equal_values_have_equal_pseudonyms_in_every_type_that_holds_them_and_in_no_other_export() {
        let (one, other) = (disguise(1), disguise(2));
        for (kind, value) in [
            (Kind::Integer, "4711"),
            (Kind::Text, "bob@example.com"),
            (Kind::Uuid, "123e4567-e89b-12d3-a456-426614174000"),
        ] {
            let pseudonym = one.pseudonym(kind, value).unwrap();
            assert_eq!(one.pseudonym(kind, value), Some(pseudonym.clone()));
            assert_ne!(pseudonym, value);
            assert_ne!(other.pseudonym(kind, value), Some(pseudonym));
        }
        assert_eq!(one.pseudonym(Kind::Folded, "Bob"), one.pseudonym(Kind::Folded, "bOB"));
        assert_eq!(one.pseudonym(Kind::Padded, "bob  "), one.pseudonym(Kind::Text, "bob"));
        assert_eq!(
            one.pseudonym(Kind::Uuid, "123E4567E89B12D3A456426614174000"),
            one.pseudonym(Kind::Uuid, "123e4567-e89b-12d3-a456-426614174000")
        );
        assert_eq!(one.pseudonym(Kind::Integer, "bob"), None);
    }

    #[test]
    fn what_the_schema_spells_out_stays() {
        assert_eq!(disguise(1).pseudonym(Kind::Text, "open").as_deref(), Some("open"));
        assert_eq!(disguise(1).same_form("open"), "open");
        assert_ne!(disguise(1).pseudonym(Kind::Text, "closed").as_deref(), Some("closed"));
    }

    #[test]
    fn no_two_numbers_have_one_pseudonym_and_each_fits_the_type_of_its_value() {
        let disguise = disguise(3);
        let of = |number: i64| -> i64 {
            disguise.pseudonym(Kind::Integer, &number.to_string()).unwrap().parse().unwrap()
        };
        let small: HashSet<i64> = (-32_767..=32_767).map(of).collect();
        assert_eq!(small.len(), 65_535);
        assert!(small.iter().all(|number| i16::try_from(*number).is_ok()));
        let medium: HashSet<i64> = (40_000..60_000).map(of).collect();
        assert_eq!(medium.len(), 20_000);
        assert!(medium.iter().all(|number| i32::try_from(*number).is_ok() && *number > 32_767));
        let large = of(5_000_000_000);
        assert!(large > i64::from(i32::MAX) && large != 5_000_000_000);
        assert_eq!((of(i64::MIN), of(0), of(-7)), (i64::MIN, 0, -of(7)));
    }

    #[test]
    fn numbers_dates_and_times_have_pseudonyms_that_are_equal_only_where_they_are() {
        let (disguise, other) = (disguise(4), disguise(5));
        for (kind, values) in [
            (Kind::Numeric, ["12.50", "-0.07", "199.99"]),
            (Kind::Date, ["1987-06-05", "2031-01-01", "2300-07-08"]),
            (
                Kind::Timestamp,
                ["1987-06-05 00:00:00", "2024-06-05 12:00:00", "2024-06-05 12:00:00.5"],
            ),
            (
                Kind::TimestampTz,
                ["2024-06-05 12:00:00+00", "2024-06-05 12:00:00+02", "1950-01-01 00:00:00Z"],
            ),
        ] {
            let mut seen = HashSet::new();
            for value in values {
                let pseudonym = disguise.pseudonym(kind, value).unwrap();
                assert_ne!(other.pseudonym(kind, value), Some(pseudonym.clone()), "{value}");
                // It is a value of the kind, too.
                assert!(disguise.pseudonym(kind, &pseudonym).is_some(), "{pseudonym}");
                assert!(seen.insert(pseudonym), "{value}");
            }
        }
        let same =
            |kind, a, b| assert_eq!(disguise.pseudonym(kind, a), disguise.pseudonym(kind, b));
        same(Kind::Numeric, "12.5", "12.500");
        same(Kind::TimestampTz, "2024-06-05 12:00:00+02", "2024-06-05 10:00:00");
        same(Kind::Timestamp, "2024-06-05", "2024-06-05 00:00:00");
        assert_eq!(
            disguise.pseudonym(Kind::Numeric, "4711.0"),
            disguise.pseudonym(Kind::Integer, "4711")
        );
        assert_eq!(disguise.pseudonym(Kind::Date, "infinity").as_deref(), Some("infinity"));
        for (kind, odd) in
            [(Kind::Numeric, "NaN"), (Kind::Date, "yesterday"), (Kind::Date, "20000-01-01")]
        {
            assert_eq!(disguise.pseudonym(kind, odd), None);
        }
        for (name, wanted) in [
            ("numeric(10,2)", Some(Kind::Numeric)),
            ("timestamp(3) with time zone", Some(Kind::TimestampTz)),
            ("timestamp without time zone", Some(Kind::Timestamp)),
            ("integer[]", None),
            ("double precision", None),
        ] {
            assert_eq!(kind(name), wanted, "{name}");
        }
    }

    #[test]
    fn keys_within_documents_are_hidden_as_their_values_are() {
        let disguise = disguise(7);
        let hidden = disguise.same_form(r#"{"bob@example.com": {"open": [1, "pentagon"]}}"#);
        assert!(!hidden.contains("bob") && !hidden.contains("pentagon"), "{hidden}");
        assert!(hidden.contains("\"open\""), "the schema spells it out: {hidden}");
        serde_json::from_str::<Value>(&hidden).unwrap();
        // Neither an array nor a range is a document.
        for form in ["{1,2}", "[1,5)", "{a,b}"] {
            assert_eq!(disguise.same_form(form).len(), form.len());
        }
    }
}
