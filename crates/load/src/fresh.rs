//! Values that no row holds yet, made for each request: what is written into columns under a unique index.
//!
//! Numbers go up from the greatest that a column holds when the load begins, as a sequence would; they are counted
//! for all clients, and for all statements that write the column. Texts, UUIDs and bytes are counted from a random
//! start and multiplied by an odd number, which permutes the numbers below a power of two: none comes twice, and they
//! are scattered over the index.

use crate::connection::{Dialer, Patience, Reading};
use crate::encode::{self, Before, Frame, Values};
use bytes::BytesMut;
use pgassay_model::index::RelationName;
use pgassay_model::workload::{FreshKind, FreshParameter};
use pgassay_sql::{quote_identifier, quote_qualified};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// 2^64 divided by the golden ratio, and the same of 2^128: odd, and successive multiples lie far apart (Knuth, The
/// Art of Computer Programming, volume 3, section 6.4).
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;
const SCATTER_WIDE: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
/// Hexadecimal digits of a text that are made.
const DIGITS: usize = 12;
/// Time for the greatest value of a column, whose index may not begin with it.
const TIMEOUT_MS: u32 = 5000;

/// The columns that are counted up.
#[derive(Debug, Default)]
pub(crate) struct Columns(HashMap<(RelationName, String), Arc<AtomicI64>>);

/// The parameters of one statement.
#[derive(Debug)]
pub(crate) struct Fresh {
    made: Vec<(usize, Made)>,
    count: AtomicU64,
}

#[derive(Debug)]
enum Made {
    Serial(Arc<AtomicI64>),
    Text,
    Uuid,
    Bytes,
}

impl Columns {
    /// The parameters of a statement; None where it has none that are made.
    pub(crate) fn statement(&mut self, parameters: &[FreshParameter]) -> Option<Fresh> {
        let made: Vec<(usize, Made)> = parameters
            .iter()
            .filter_map(|parameter| {
                let made = match &parameter.kind {
                    FreshKind::Serial { relation, column, first } => {
                        let next = self.0.entry((relation.clone(), column.clone())).or_default();
                        next.fetch_max(*first, Ordering::Relaxed);
                        Made::Serial(next.clone())
                    }
                    FreshKind::Text => Made::Text,
                    FreshKind::Uuid => Made::Uuid,
                    FreshKind::Bytes => Made::Bytes,
                };
                Some((parameter.number.checked_sub(1)?, made))
            })
            .collect();
        // Another start with each run: what earlier ones wrote is still there.
        let count = AtomicU64::new(rand::random());
        (!made.is_empty()).then_some(Fresh { made, count })
    }

    /// Goes on above what the columns hold by now, where the role may read them; otherwise where the capture found
    /// them to be free.
    pub(crate) fn rise(&self, dialer: &Dialer) {
        if self.0.is_empty() {
            return;
        }
        let patient = AtomicBool::new(false);
        let patience = || Patience::new(&patient, dialer.timeout());
        let Ok((mut connection, _)) = dialer.open(patience()) else { return };
        for ((relation, column), next) in &self.0 {
            // Several statements in one message are one transaction, also behind a pooler.
            let sql = format!(
                "SET LOCAL statement_timeout = {TIMEOUT_MS} /* pgassay */; SELECT pg_catalog.trunc(pg_catalog.max({})::pg_catalog.numeric)::pg_catalog.text FROM {} /* pgassay */",
                quote_identifier(column),
                quote_qualified(&relation.schema, &relation.name)
            );
            let mut outbox = BytesMut::new();
            encode::query(
                &sql,
                Frame { before: Some(Before::BeginReadOnly), end: Some(encode::End::Rollback) },
                &mut outbox,
            );
            let mut reading = Reading::with_row();
            if connection.ask(&outbox, &mut reading, patience()).is_err() {
                return;
            }
            let row = reading.rows.unwrap_or_default();
            let greatest = row.values.first().and_then(|value| value.as_deref()?.parse().ok());
            if let Some(above) = greatest.and_then(|greatest: i64| greatest.checked_add(1)) {
                next.fetch_max(above, Ordering::Relaxed);
            }
        }
        connection.close(patience());
    }
}

impl Fresh {
    /// The values of a set with new ones in their places.
    pub(crate) fn values(&self, set: &Values) -> Vec<Option<String>> {
        let mut values = set.to_vec();
        for (place, made) in &self.made {
            let Some(value) = values.get_mut(*place) else { continue };
            // One count for each value: a statement may write several rows.
            let count = || self.count.fetch_add(1, Ordering::Relaxed);
            let like = value.take().unwrap_or_default();
            *value = Some(match made {
                Made::Serial(next) => next.fetch_add(1, Ordering::Relaxed).to_string(),
                Made::Text => {
                    let digits = count().wrapping_mul(SCATTER) & ((1 << (4 * DIGITS)) - 1);
                    let rest: String = like.chars().skip(DIGITS).collect();
                    format!("{digits:0DIGITS$x}{rest}")
                }
                Made::Uuid => uuid(u128::from(count()).wrapping_mul(SCATTER_WIDE)),
                Made::Bytes => {
                    let rest = like.get(2 + 16..).unwrap_or_default();
                    format!("\\x{:016x}{rest}", count().wrapping_mul(SCATTER))
                }
            });
        }
        values
    }
}

/// A UUID of version 4, six bits of which are fixed (RFC 9562, section 5.4); the type reads it without hyphens, too.
fn uuid(bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0b11 << 62) | (0x4 << 76) | (0b10 << 62);
    format!("{bits:032x}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::HashSet;

    fn serial(number: usize, first: i64) -> FreshParameter {
        let relation = RelationName { schema: "public".into(), name: "t".into() };
        let kind = FreshKind::Serial { relation, column: "id".into(), first };
        FreshParameter { number, kind }
    }

    #[test]
    fn statements_that_write_the_same_column_count_together() {
        let mut columns = Columns::default();
        let one = columns.statement(&[serial(2, 10)]).unwrap();
        let two = columns.statement(&[serial(1, 20), serial(2, 20)]).unwrap();
        let set = [Some("a".to_owned()), Some("b".to_owned())];
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(one.values(&set), [text("a"), text("20")]);
        assert_eq!(two.values(&set), [text("21"), text("22")]);
        assert!(columns.statement(&[]).is_none());
    }

    #[test]
    fn no_value_comes_twice_and_each_keeps_its_form() {
        let kinds = [FreshKind::Text, FreshKind::Uuid, FreshKind::Bytes];
        let parameters: Vec<FreshParameter> = kinds
            .into_iter()
            .enumerate()
            .map(|(place, kind)| FreshParameter { number: place + 1, kind })
            .collect();
        let fresh = Columns::default().statement(&parameters).unwrap();
        let set = ["0123456789abü@example.com", "", "\\x000102030405060708"];
        let set = set.map(|text| Some(text.to_owned()));
        let mut seen = HashSet::new();
        for _ in 0..100_000 {
            let values = fresh.values(&set);
            assert!(values[0].as_deref().unwrap().ends_with("ü@example.com"));
            assert_eq!(values[1].as_deref().unwrap().get(12..13), Some("4"));
            assert!(values[2].as_deref().unwrap().ends_with("08"));
            assert_eq!(values[2].as_deref().unwrap().len(), 20);
            for value in values {
                assert!(seen.insert(value));
            }
        }
    }
}
