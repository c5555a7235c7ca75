//! A set of parameter values as bytes, for keeping many of them: how many are bound, then each with its length.

use crate::log::lexer::{LiteralKind, Scan};
use crate::log::literal::value;
use crate::log::message::{NoParameters, parameters};

const NULL: u32 = u32::MAX;

/// A set as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Set {
    /// Values of `$1`, `$2` …
    pub bound: Vec<Option<String>>,
    /// Values of the literals, in the order of the text.
    pub literals: Vec<Option<String>>,
}

/// Writes the values bound in a DETAIL and those of the literals; false where they are cut off or damaged.
pub(crate) fn encode(
    sql: &[u8],
    scan: &Scan,
    detail: &[u8],
    whole: bool,
    to: &mut Vec<u8>,
) -> bool {
    to.clear();
    to.extend_from_slice(&[0; 4]);
    let mut bound = 0_u32;
    let found = parameters(detail, whole, |value| {
        bound += 1;
        match value {
            None => push(None, to),
            Some(value) => push_undoubled(value, to),
        }
    });
    if matches!(found, Err(NoParameters::Cut | NoParameters::Malformed)) {
        return false;
    }
    if let Some(place) = to.get_mut(..4) {
        place.copy_from_slice(&bound.to_le_bytes());
    }
    for literal in &scan.literals {
        let raw = sql.get(literal.at.clone()).unwrap_or_default();
        match literal.kind {
            LiteralKind::Integer | LiteralKind::Decimal | LiteralKind::Boolean => {
                push(Some(raw), to)
            }
            LiteralKind::Text => {
                let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
                push_undoubled(inner, to);
            }
            LiteralKind::Null => push(None, to),
            LiteralKind::Escaped | LiteralKind::Dollar => {
                push(Some(value(sql, literal).unwrap_or_default().as_bytes()), to);
            }
        }
    }
    true
}

fn push(value: Option<&[u8]>, to: &mut Vec<u8>) {
    to.extend_from_slice(&value.map_or(NULL, |value| value.len() as u32).to_le_bytes());
    to.extend_from_slice(value.unwrap_or_default());
}

/// A value with its quotes doubled, as it stands in SQL and in DETAIL.
fn push_undoubled(value: &[u8], to: &mut Vec<u8>) {
    let start = to.len();
    to.extend_from_slice(&[0; 4]);
    undouble(value, to);
    let length = (to.len() - start - 4) as u32;
    if let Some(place) = to.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

fn undouble(value: &[u8], to: &mut Vec<u8>) {
    let mut rest = value;
    while let Some(at) = memchr::memchr(b'\'', rest) {
        to.extend_from_slice(rest.get(..=at).unwrap_or_default());
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    to.extend_from_slice(rest);
}

/// Reads what [`encode`] wrote; bytes that are no UTF-8 are replaced.
pub(crate) fn decode(bytes: &[u8]) -> Set {
    let mut set = Set::default();
    let Some((bound, mut rest)) = number(bytes) else { return set };
    while let Some((length, after)) = number(rest) {
        let value = if length == NULL { None } else { after.get(..length as usize) };
        rest = after.get(value.map_or(0, <[u8]>::len)..).unwrap_or_default();
        let value = value.map(|value| String::from_utf8_lossy(value).into_owned());
        let of = if set.bound.len() < bound as usize { &mut set.bound } else { &mut set.literals };
        of.push(value);
    }
    set
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_as_they_were_written() {
        let sql = b"SELECT $1, 'x''y', NULL, f(NULL), $2";
        let mut scan = Scan::default();
        scan.read(sql);
        let mut bytes = Vec::new();
        assert!(encode(sql, &scan, b"Parameters: $1 = 'it''s', $2 = NULL", false, &mut bytes));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            decode(&bytes),
            Set { bound: vec![text("it's"), None], literals: vec![text("x'y"), None, None] }
        );
        assert!(!encode(sql, &scan, b"Parameters: $1 = 'it...'", false, &mut bytes));
        assert!(encode(sql, &scan, b"Parameters: $1 = 'it...'", true, &mut bytes));
    }
}
