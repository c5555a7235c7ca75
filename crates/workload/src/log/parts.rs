//! The statements of one message: a client may send several at once, with semicolons between them.

use crate::log::lexer::{Scan, quoted_end, trim};
use std::ops::Range;

/// The statements of a text that was scanned. One where semicolons may belong to the body of a function.
pub(crate) fn parts<'a>(text: &'a [u8], scan: &Scan) -> Vec<&'a [u8]> {
    let whole = || vec![text];
    if text.windows(6).any(|word| word.eq_ignore_ascii_case(b"atomic")) {
        return whole();
    }
    let literals = scan.literals.iter().map(|literal| (literal.at.clone(), true));
    let mut hidden: Vec<(Range<usize>, bool)> =
        literals.chain(scan.comments.iter().map(|comment| (comment.clone(), false))).collect();
    hidden.sort_by_key(|(range, _)| range.start);
    let mut hidden = hidden.into_iter().peekable();
    let (mut found, mut from, mut at, mut depth) = (Vec::new(), 0, 0, 0_usize);
    // Whether there is more than comments since the last semicolon.
    let mut filled = false;
    let mut end = |range: Range<usize>, filled: bool| {
        if filled {
            found.push(trim(text.get(range).unwrap_or_default()));
        }
    };
    while let Some(byte) = text.get(at) {
        while hidden.next_if(|(range, _)| range.end <= at).is_some() {}
        if let Some((range, literal)) = hidden.peek().filter(|(range, _)| range.contains(&at)) {
            filled |= literal;
            at = range.end;
            continue;
        }
        match byte {
            b'"' => {
                at = quoted_end(text, at + 1, b'"');
                filled = true;
                continue;
            }
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            // CREATE RULE has several in parentheses.
            b';' if depth == 0 => {
                end(from..at, filled);
                (from, filled) = (at + 1, false);
            }
            _ => filled |= !byte.is_ascii_whitespace(),
        }
        at += 1;
    }
    end(from..text.len(), filled);
    if found.is_empty() { whole() } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Vec<String> {
        let mut scan = Scan::default();
        scan.read(text.as_bytes());
        let parts = parts(text.as_bytes(), &scan);
        parts.into_iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect()
    }

    #[test]
    fn semicolons_in_literals_names_comments_and_bodies_part_nothing() {
        assert_eq!(of("SELECT 1; SELECT 2 ;;\n /* a; b */ ;"), ["SELECT 1", "SELECT 2"]);
        for one in [
            "SELECT ';', \";\" /* ; */, $$;$$, E'\\';' -- ; x",
            "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b)",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
        ] {
            assert_eq!(of(one), [one]);
        }
        assert_eq!(
            of("BEGIN; UPDATE t SET a = 'x;' /* c; */ WHERE b IN (1, 2); COMMIT"),
            ["BEGIN", "UPDATE t SET a = 'x;' /* c; */ WHERE b IN (1, 2)", "COMMIT"]
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z1'$\"/*();ä \n-]{0,80}") {
            let _ = of(&text);
        }
    }
}
