//! `host=… dbname=…`: keywords with values, quoted where they hold spaces.

use super::{DsnError, Given, enter};

pub(super) fn read(text: &str) -> Result<Given, DsnError> {
    let mut given = Given::new();
    let mut rest = text.trim_start();
    // After a password an unknown key may be a piece of it that was not quoted.
    let mut repeat = true;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| c == '=' || c.is_whitespace())
            .ok_or(DsnError::Malformed("a key without \"=\"; values with spaces need quotes"))?;
        let (key, after) = rest.split_at(end);
        let after = after
            .trim_start()
            .strip_prefix('=')
            .ok_or(DsnError::Malformed("a key without \"=\"; values with spaces need quotes"))?;
        let (value, after) = value(after.trim_start())?;
        enter(&mut given, key, value, repeat)?;
        repeat &= key != "password";
        rest = after.trim_start();
    }
    Ok(given)
}

/// A value and what follows it. A backslash takes the next character as it is, in quotes and outside.
fn value(text: &str) -> Result<(String, &str), DsnError> {
    let mut value = String::new();
    let quoted = text.starts_with('\'');
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => {
                if let Some((_, next)) = characters.next() {
                    value.push(next);
                }
            }
            '\'' if quoted => {
                return Ok((value, text.get(at + 1..).unwrap_or_default()));
            }
            space if !quoted && space.is_whitespace() => {
                return Ok((value, text.get(at..).unwrap_or_default()));
            }
            other => value.push(other),
        }
    }
    if quoted { Err(DsnError::Malformed("a quoted value does not end")) } else { Ok((value, "")) }
}
