//! Constants of a statement: where they stand, what they say, and which `$n` stands for each in normal form.

use crate::SqlError;
use crate::text::{normalise, tokens};
use pg_query::protobuf::{ScanToken, Token};
use std::ops::Range;

/// A constant in a statement's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constant {
    /// The bytes that it takes.
    pub at: Range<usize>,
    /// `n` of the `$n` that stands for it in [`normalise`]'s form. None: nothing does, as for a type's modifier.
    pub number: Option<usize>,
    /// What it says: digits as written, a string without its quotes.
    pub value: ConstantValue,
    /// The word or operator before it, in lower case.
    pub before: String,
    /// The type that it is cast to, in lower case: after `::`, or before it (`date '…'`).
    pub cast: Option<String>,
}

/// What a constant says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConstantValue {
    /// A number, without its sign.
    Number(String),
    /// A string.
    Text(String),
    /// A string in a form that is not read here: with escapes, bits, or Unicode escapes.
    Unread,
}

/// Constants and comments of a statement, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Constants {
    /// Numbers and strings; TRUE, FALSE and NULL are none.
    pub constants: Vec<Constant>,
    /// The bytes that comments take.
    pub comments: Vec<Range<usize>>,
}

/// Finds them.
pub fn constants(sql: &str) -> Result<Constants, SqlError> {
    let (comments, own): (Vec<ScanToken>, Vec<ScanToken>) =
        tokens(sql)?.into_iter().partition(is_comment);
    let text = normalise(sql)?;
    let normal: Vec<ScanToken> =
        tokens(&text)?.into_iter().filter(|token| !is_comment(token)).collect();
    let numbers = numbers(&own, &normal, &text)
        .ok_or_else(|| SqlError::Parse("its normal form is another statement".into()))?;
    let word = |token: Option<&ScanToken>| {
        let token = token?;
        Some(sql.get(range(token))?.to_lowercase())
    };
    let mut found =
        Constants { comments: comments.iter().map(range).collect(), constants: Vec::new() };
    for (place, token) in own.iter().enumerate().filter(|(_, token)| is_constant(token)) {
        let text = sql.get(range(token)).unwrap_or_default();
        let previous = place.checked_sub(1);
        let before = word(previous.and_then(|previous| own.get(previous))).unwrap_or_default();
        let after = (word(own.get(place + 1)).as_deref() == Some("::"))
            .then(|| word(own.get(place + 2)))
            .flatten();
        let typed =
            matches!(before.as_str(), "date" | "time" | "timestamp" | "timestamptz" | "interval");
        found.constants.push(Constant {
            at: range(token),
            number: numbers.get(place).copied().flatten(),
            value: value(token, text),
            cast: after.or_else(|| typed.then(|| before.clone())),
            before,
        });
    }
    Ok(found)
}

/// What the constants of any text say, those left out that are not read.
pub fn constant_values(sql: &str) -> Result<Vec<String>, SqlError> {
    let tokens = tokens(sql)?;
    let constants = tokens.iter().filter(|token| is_constant(token));
    Ok(constants
        .filter_map(|token| match value(token, sql.get(range(token))?) {
            ConstantValue::Number(text) | ConstantValue::Text(text) => Some(text),
            ConstantValue::Unread => None,
        })
        .collect())
}

/// For each token the number of the parameter that replaces it; None: the texts are not of one statement.
fn numbers(own: &[ScanToken], normal: &[ScanToken], text: &str) -> Option<Vec<Option<usize>>> {
    let mut numbers = vec![None; own.len()];
    let mut place = 0;
    for replaced in normal {
        let token = own.get(place)?;
        let is_parameter = |token: &ScanToken| token.token == Token::Param as i32;
        if is_parameter(replaced) && !is_parameter(token) {
            // A sign is part of the constant there.
            let signed =
                token.token == Token::Ascii45 as i32 || token.token == Token::Ascii43 as i32;
            place += usize::from(signed);
            let number = text.get(range(replaced)).and_then(|text| text.get(1..)?.parse().ok());
            if let Some(slot) = numbers.get_mut(place) {
                *slot = number;
            }
        } else if replaced.token != token.token {
            return None;
        }
        place += 1;
    }
    (place == own.len()).then_some(numbers)
}

fn range(token: &ScanToken) -> Range<usize> {
    token.start.max(0) as usize..token.end.max(0) as usize
}

fn is_comment(token: &ScanToken) -> bool {
    token.token == Token::SqlComment as i32 || token.token == Token::CComment as i32
}

fn is_constant(token: &ScanToken) -> bool {
    [Token::Iconst, Token::Fconst, Token::Sconst, Token::Usconst, Token::Bconst, Token::Xconst]
        .iter()
        .any(|kind| token.token == *kind as i32)
}

fn value(token: &ScanToken, text: &str) -> ConstantValue {
    if token.token == Token::Iconst as i32 || token.token == Token::Fconst as i32 {
        return ConstantValue::Number(text.to_owned());
    }
    if token.token != Token::Sconst as i32 {
        return ConstantValue::Unread;
    }
    let plain = text.strip_prefix(['E', 'e']).filter(|rest| !rest.contains('\\')).unwrap_or(text);
    // Strings on several lines are one token, with quotes between.
    let quoted = plain.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    if let Some(inner) = quoted {
        let unread = inner.replace("''", "").contains('\'');
        return if unread {
            ConstantValue::Unread
        } else {
            ConstantValue::Text(inner.replace("''", "'"))
        };
    }
    let dollar = text
        .strip_prefix('$')
        .and_then(|rest| rest.find('$'))
        .and_then(|end| text.get(..end + 2))
        .and_then(|tag| text.strip_prefix(tag)?.strip_suffix(tag));
    dollar.map_or(ConstantValue::Unread, |inner| ConstantValue::Text(inner.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn found(sql: &str) -> Vec<(Option<usize>, ConstantValue)> {
        let found = constants(sql).unwrap();
        found.constants.into_iter().map(|one| (one.number, one.value)).collect()
    }

    fn text(value: &str) -> ConstantValue {
        ConstantValue::Text(value.into())
    }

    fn number(value: &str) -> ConstantValue {
        ConstantValue::Number(value.into())
    }

    #[test]
    fn constants_have_the_numbers_of_the_normal_form() {
        assert_eq!(
            found("SELECT * FROM t WHERE a = $1 AND b = -77 AND c IN ('x', 'it''s') AND d = 1.5"),
            [
                (Some(2), number("77")),
                (Some(3), text("x")),
                (Some(4), text("it's")),
                (Some(5), number("1.5"))
            ]
        );
        assert_eq!(
            found("SELECT TRUE, a::numeric(10, 2) FROM t WHERE b = $$x$$").last().unwrap().1,
            text("x")
        );
    }

    #[test]
    fn casts_comments_and_what_is_not_read_are_told() {
        let found = constants(
            "SELECT /* bob */ 1 FROM t WHERE at > date '2026-01-01' AND b < '7 days'::interval AND c = E'\\n' -- end",
        )
        .unwrap();
        assert_eq!(found.comments.len(), 2);
        let casts: Vec<Option<&str>> =
            found.constants.iter().map(|one| one.cast.as_deref()).collect();
        assert_eq!(casts, [None, Some("date"), Some("interval"), None]);
        assert_eq!(found.constants[3].value, ConstantValue::Unread);
        assert_eq!(found.constants[3].before, "=");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in "SELECT [a-z0-9'$E\\\\:,. -]{0,40}") {
            let _ = constants(&sql);
        }
    }
}
