//! Error messages without the values of the request they are about.

/// Values shorter than this are not looked for: they would match anywhere.
const SHORTEST: usize = 4;
/// SQLSTATE class "data exception", whose messages quote the value they complain about.
const DATA_EXCEPTION: &str = "22";

/// SQLSTATE and message of an error, without these values.
pub(crate) fn redact<'a>(
    sqlstate: &str,
    message: &str,
    values: impl IntoIterator<Item = &'a str>,
) -> String {
    let mut text = message.to_owned();
    if sqlstate.starts_with(DATA_EXCEPTION) {
        text = without_quoted(&text);
    }
    for value in values.into_iter().filter(|value| value.chars().count() >= SHORTEST) {
        text = text.replace(value, "…");
    }
    format!("{sqlstate} {text}")
}

/// What stands in quotation marks, in any language's, replaced by an ellipsis.
fn without_quoted(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    let mut closing: Option<&[char]> = None;
    for character in message.chars() {
        match closing {
            Some(marks) if marks.contains(&character) => {
                text.push('…');
                text.push(character);
                closing = None;
            }
            Some(_) => {}
            None => {
                text.push(character);
                closing = match character {
                    '"' => Some(&['"']),
                    '«' => Some(&['»']),
                    '»' => Some(&['«']),
                    '„' => Some(&['“', '”']),
                    '“' => Some(&['”']),
                    '「' => Some(&['」']),
                    _ => None,
                };
            }
        }
    }
    if closing.is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_message_loses_its_values() {
        let values = ["hunter2"];
        assert_eq!(
            redact("22P02", "invalid input syntax for type integer: \"12x\"", values),
            "22P02 invalid input syntax for type integer: \"…\""
        );
        assert_eq!(redact("P0001", "no hunter2 here", values), "P0001 no … here");
        assert_eq!(
            redact("42P01", "relation \"users\" does not exist", values),
            "42P01 relation \"users\" does not exist"
        );
    }
}
