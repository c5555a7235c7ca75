//! Arrays in PostgreSQL's text form, as statistics hold them.

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
