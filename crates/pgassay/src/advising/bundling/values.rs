//! Values in disguise: a pseudonym that is the same wherever the value stands, for what planners look up by equality,
//! and a value of the same form for everything else.
//!
//! The key is made for one export and kept nowhere, so a pseudonym can't be found by trying values. It can be
//! guessed by its frequency where that is known from elsewhere.

use rand::Rng;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// How often another value of the same form is drawn.
const TRIES: u64 = 16;

/// Types whose values have pseudonyms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `smallint`, `integer`, `bigint`: the same number has the same pseudonym in each.
    Integer,
    /// `text`, `character varying`.
    Text,
    /// `character`: spaces at the end don't count.
    Padded,
    /// `citext`: case does not count.
    Folded,
    /// `uuid`.
    Uuid,
    /// `boolean`: there is nothing to hide in it.
    Boolean,
}

/// The kind of a type by its name as `format_type` writes it; None: its values have no pseudonyms.
pub fn kind(type_name: &str) -> Option<Kind> {
    let plain = type_name.split('(').next().unwrap_or_default().trim();
    match plain.rsplit('.').next().unwrap_or_default() {
        "smallint" | "integer" | "bigint" => Some(Kind::Integer),
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
    spelled: BTreeSet<String>,
}

impl Disguise {
    /// With a key of its own.
    pub fn new(random: &mut impl Rng, spelled: BTreeSet<String>) -> Self {
        let mut key = [0; 32];
        random.fill_bytes(&mut key);
        Disguise { key, spelled }
    }

    /// The pseudonym of a value; None where the text is no value of the kind.
    pub fn pseudonym(&self, kind: Kind, value: &str) -> Option<String> {
        if self.spelled.contains(value) {
            return Some(value.to_owned());
        }
        Some(match kind {
            Kind::Boolean => value.to_owned(),
            Kind::Integer => self.integer(value.trim().parse().ok()?).to_string(),
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
        others.next().unwrap_or_else(|| value.to_owned())
    }

    fn text(&self, value: &str) -> String {
        let hash = self.hexadecimal("text", value);
        format!("v{}", hash.get(..23).unwrap_or_default())
    }

    fn hexadecimal(&self, domain: &str, value: &str) -> String {
        self.hash(domain, value.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn hash(&self, domain: &str, value: &[u8]) -> [u8; 32] {
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
        // A permutation of the bits (four rounds of a Feistel network), walked until it is within the range again:
        // Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002.
        let mut permuted = magnitude;
        loop {
            permuted = self.permute(permuted, half);
            if (low..high).contains(&permuted) {
                break;
            }
        }
        let permuted = i64::try_from(permuted).unwrap_or(i64::MAX);
        if value < 0 { -permuted } else { permuted }
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

/// Elements of a one-dimensional array in PostgreSQL's text form; None for one of more dimensions or other bounds.
pub fn elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    if inner.is_empty() {
        return Some(elements);
    }
    let (mut element, mut quoted, mut within) = (String::new(), false, false);
    let mut characters = inner.chars();
    loop {
        match characters.next() {
            Some('\\') => element.push(characters.next()?),
            Some('"') => {
                within = !within;
                quoted = true;
            }
            Some(c) if within => element.push(c),
            None if within => return None,
            Some('{' | '}') => return None,
            end @ (Some(',') | None) => {
                let null = !quoted && element.eq_ignore_ascii_case("null");
                let element = std::mem::take(&mut element);
                elements.push((!null).then_some(element));
                quoted = false;
                if end.is_none() {
                    return Some(elements);
                }
            }
            Some(c) => element.push(c),
        }
    }
}

/// The text form of an array.
pub fn array(elements: &[Option<String>]) -> String {
    let texts = elements.iter().map(|element| match element {
        None => "NULL".to_owned(),
        Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    });
    format!("{{{}}}", texts.collect::<Vec<String>>().join(","))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::collections::HashSet;

    fn disguise(seed: u64) -> Disguise {
        Disguise::new(&mut StdRng::seed_from_u64(seed), BTreeSet::from(["open".to_owned()]))
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
    fn arrays_are_read_and_written_as_postgresql_does() {
        let read = elements(r#"{a,"b c","d\"e\\f",NULL,"NULL",""}"#).unwrap();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read, [some("a"), some("b c"), some(r#"d"e\f"#), None, some("NULL"), some("")]);
        assert_eq!(elements(&array(&read)), Some(read));
        assert_eq!(elements("{}"), Some(Vec::new()));
        for odd in ["{{1},{2}}", "[0:1]={1,2}", "{\"a", "{a\\", "", "x"] {
            assert_eq!(elements(odd), None, "{odd}");
        }
    }
}
