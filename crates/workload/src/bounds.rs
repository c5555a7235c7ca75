//! Which side of a comparison a `$n` stands on, read off the words around it.

/// What a `$n` bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// `x >= $n`, `BETWEEN $n AND …`
    Lower,
    /// `x < $n`, `BETWEEN … AND $n`
    Upper,
}

/// Whether `$number` is the lower or the upper bound of a range; None where the text does not show it.
pub(crate) fn bound(sql: &str, number: usize) -> Option<Bound> {
    let (before, after) = around(sql, number)?;
    match before.chars().rev().find(|c| *c != '=') {
        Some('>') => return Some(Bound::Lower),
        Some('<') => return Some(Bound::Upper),
        _ => {}
    }
    match last_word(before).as_str() {
        "BETWEEN" | "SYMMETRIC" => return Some(Bound::Lower),
        "AND" if !after.starts_with(['<', '>']) => return Some(Bound::Upper),
        _ => {}
    }
    match after.chars().next() {
        Some('<') => Some(Bound::Lower),
        Some('>') => Some(Bound::Upper),
        _ => None,
    }
}

/// Whether `$number` stands behind OFFSET.
pub(crate) fn is_offset(sql: &str, number: usize) -> bool {
    around(sql, number).is_some_and(|(before, _)| last_word(before) == "OFFSET")
}

/// The text on both sides of the first `$number`, without the parentheses and the cast around it.
fn around(sql: &str, number: usize) -> Option<(&str, &str)> {
    let name = format!("${number}");
    let (start, _) = sql.match_indices(&name).find(|(start, _)| {
        let next = sql.get(start + name.len()..).and_then(|rest| rest.chars().next());
        !next.is_some_and(|next| next.is_ascii_digit())
    })?;
    let before = sql.get(..start)?.trim_end_matches(['(', ' ', '\n', '\t', '\r']);
    let after = sql.get(start + name.len()..)?.trim_start();
    let after = match after.strip_prefix("::") {
        Some(cast) => cast.trim_start_matches(|c: char| c.is_alphanumeric() || "_.\"".contains(c)),
        None => after,
    };
    Some((before, after.trim_start_matches([')', ' ', '\n', '\t', '\r'])))
}

fn last_word(text: &str) -> String {
    let word = text.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    word.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_of_ranges_are_told_apart() {
        for (condition, lower) in [
            ("a >= $11 AND a < $1", 11),
            ("a < $1 AND a > ($11)", 11),
            ("a BETWEEN $11 AND $1", 11),
            ("a between symmetric $11::date and $1::date", 11),
            ("$11 <= a AND $1 > a", 11),
            ("b = 1 AND $11::date < a and a<=$1", 11),
        ] {
            assert_eq!(bound(condition, lower), Some(Bound::Lower), "{condition}");
            assert_eq!(bound(condition, 1), Some(Bound::Upper), "{condition}");
        }
        assert_eq!(bound("a = $1", 1), None);
        assert_eq!(bound("a = $1", 2), None);
    }

    #[test]
    fn an_offset_is_told_from_a_limit() {
        let sql = "SELECT 1 LIMIT $1 offset ($2)";
        assert!(!is_offset(sql, 1) && is_offset(sql, 2));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_scan_panic(text in "[$19<>=():a ANDäé]{0,30}") {
            let _ = bound(&text, 1);
            let _ = is_offset(&text, 9);
        }
    }
}
