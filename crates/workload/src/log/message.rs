//! What an entry's message says of a statement, and the parameters in its DETAIL.

use memchr::{memchr, memmem};

/// A message as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// A statement that is done: `duration: 1.234 ms  statement: …`, `… execute name: …`.
    Done { micros: u64, sql: &'a [u8] },
    /// A statement that begins (`log_statement`): `statement: …`, `execute name: …`.
    Begun { sql: &'a [u8] },
    /// A duration alone: of the statement that began before it in the session.
    Duration { micros: u64 },
    /// auto_explain's: the text with its query and plan.
    Plan { micros: u64, text: &'a [u8] },
    /// The session begins or ends.
    Session,
    /// Parse, bind, fetches from a portal and everything else.
    Nothing,
}

/// Reads a message.
pub(crate) fn read(message: &[u8]) -> Message<'_> {
    if let Some(rest) = message.strip_prefix(b"duration: ") {
        let Some((micros, rest)) = milliseconds(rest) else { return Message::Nothing };
        let rest = match rest {
            [b' ', b' ', rest @ ..] => rest,
            rest if rest.trim_ascii().is_empty() => return Message::Duration { micros },
            _ => return Message::Nothing,
        };
        if let Some(text) = rest.strip_prefix(b"plan:") {
            return Message::Plan { micros, text };
        }
        return statement(rest).map_or(Message::Nothing, |sql| Message::Done { micros, sql });
    }
    if let Some(sql) = statement(message) {
        return Message::Begun { sql };
    }
    if message.starts_with(b"disconnection: ") || message.starts_with(b"connection received: ") {
        return Message::Session;
    }
    Message::Nothing
}

/// The text behind `statement: ` or `execute name: `.
fn statement(text: &[u8]) -> Option<&[u8]> {
    if let Some(sql) = text.strip_prefix(b"statement: ") {
        return Some(sql);
    }
    let named = text.strip_prefix(b"execute ")?;
    // More rows of a portal that was counted when it was first executed.
    if named.starts_with(b"fetch from ") {
        return None;
    }
    let end = memmem::find(named, b": ")?;
    named.get(end + 2..)
}

/// `1.234 ms`, as microseconds.
fn milliseconds(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut micros = 0_u64;
    let mut decimals = None;
    let mut at = 0;
    for byte in text {
        match byte {
            b'0'..=b'9' if decimals != Some(3) => {
                micros = micros.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
                decimals = decimals.map(|decimals: u32| decimals + 1);
            }
            b'0'..=b'9' => {}
            b'.' if decimals.is_none() => decimals = Some(0),
            _ => break,
        }
        at += 1;
    }
    let rest = text.get(at..)?.strip_prefix(b" ms")?;
    Some((micros.checked_mul(10_u64.pow(3 - decimals.unwrap_or(0)))?, rest))
}

/// Why the values of a DETAIL can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoParameters {
    /// There are none.
    None,
    /// `log_parameter_max_length` cut a value off.
    Cut,
    /// The line is damaged.
    Malformed,
}

/// Gives each value of `Parameters: $1 = 'x', $2 = NULL` (before 16: `parameters: …`), in order, with its
/// quotes still doubled. With `whole`, values that end in dots are not taken for cut off.
pub(crate) fn parameters<'a>(
    detail: &'a [u8],
    whole: bool,
    mut each: impl FnMut(Option<&'a [u8]>),
) -> Result<usize, NoParameters> {
    let mut rest = match detail {
        [b'P' | b'p', rest @ ..] => rest.strip_prefix(b"arameters: ").ok_or(NoParameters::None)?,
        _ => return Err(NoParameters::None),
    };
    let mut count = 0;
    loop {
        let name = rest.strip_prefix(b"$").ok_or(NoParameters::Malformed)?;
        let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number =
            name.get(..digits).and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok());
        count += 1;
        if number != Some(count) {
            return Err(NoParameters::Malformed);
        }
        let value = name.get(digits..).and_then(|text| text.strip_prefix(b" = "));
        rest = match value {
            Some([b'\'', value @ ..]) => {
                let end = quote_end(value).ok_or(NoParameters::Malformed)?;
                let (inner, rest) = (value.get(..end), value.get(end + 1..));
                let inner = inner.ok_or(NoParameters::Malformed)?;
                if !whole && inner.ends_with(b"...") {
                    return Err(NoParameters::Cut);
                }
                each(Some(inner));
                rest.unwrap_or_default()
            }
            Some([b'N', b'U', b'L', b'L', rest @ ..]) => {
                each(None);
                rest
            }
            _ => return Err(NoParameters::Malformed),
        };
        rest = match rest {
            [b',', b' ', rest @ ..] => rest,
            rest if rest.trim_ascii().is_empty() => return Ok(count),
            _ => return Err(NoParameters::Malformed),
        };
    }
}

/// Where the quote closes; a doubled one does not.
fn quote_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr(b'\'', text.get(at..)?)?;
        if text.get(at + 1) != Some(&b'\'') {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(detail: &str) -> Result<Vec<Option<String>>, NoParameters> {
        let mut values = Vec::new();
        parameters(detail.as_bytes(), false, |value| {
            values.push(value.map(|value| String::from_utf8_lossy(value).into_owned()));
        })?;
        Ok(values)
    }

    #[test]
    fn statements_are_told_from_parse_and_bind() {
        assert_eq!(
            read(b"duration: 1.234 ms  statement: SELECT 1"),
            Message::Done { micros: 1234, sql: b"SELECT 1" }
        );
        assert_eq!(
            read(b"duration: 12.3 ms  execute s1/p: SELECT 1"),
            Message::Done { micros: 12_300, sql: b"SELECT 1" }
        );
        assert_eq!(read(b"duration: 1.234 ms  bind s1: SELECT 1"), Message::Nothing);
        assert_eq!(read(b"duration: 1.234 ms  parse s1: SELECT 1"), Message::Nothing);
        assert_eq!(read(b"duration: 1.234 ms  execute fetch from s1: SELECT 1"), Message::Nothing);
        assert_eq!(read(b"duration: 1.234 ms"), Message::Duration { micros: 1234 });
        assert_eq!(read(b"statement: SELECT 1"), Message::Begun { sql: b"SELECT 1" });
        assert_eq!(read(b"execute <unnamed>: SELECT 1"), Message::Begun { sql: b"SELECT 1" });
        assert_eq!(read(b"checkpoint starting: time"), Message::Nothing);
    }

    #[test]
    fn parameters_of_old_and_new_wording_are_read_and_cut_ones_refused() {
        let expected =
            Ok(vec![Some("it''s, $2 = 'x".replace("'x", "''x")), None, Some(String::new())]);
        for wording in ["Parameters", "parameters"] {
            assert_eq!(
                values(&format!("{wording}: $1 = 'it''s, $2 = ''x', $2 = NULL, $3 = ''")),
                expected
            );
        }
        assert_eq!(values("Parameters: $1 = 'abc...'"), Err(NoParameters::Cut));
        assert_eq!(values("Parameters: $1 = 'abc"), Err(NoParameters::Malformed));
        assert_eq!(values("prepare: PREPARE p AS SELECT 1"), Err(NoParameters::None));
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(text in "(duration: |statement: |execute |Parameters: )?[$1-9=', NULms.:]{0,60}") {
            let _ = (read(text.as_bytes()), values(&text));
        }
    }
}
