//! Values of parameters as `ALTER SYSTEM SET` takes them; lists of names element by element.

use pgassay_sql::{quote_identifier, quote_literal};

/// Parameters whose value is a list of quoted names (GUC_LIST_QUOTE; pg_dump keeps the same list):
/// ALTER SYSTEM SET takes their elements one by one.
const NAME_LISTS: &[&str] = &[
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// ALTER SYSTEM SET with its value as a literal, or its names one by one.
pub(crate) fn set_statement(name: &str, value: &str) -> String {
    let values = if NAME_LISTS.contains(&name) {
        let names = split_names(value);
        if names.is_empty() { vec![String::new()] } else { names }
    } else {
        vec![value.to_owned()]
    };
    let values: Vec<String> = values.iter().map(|value| quote_literal(value)).collect();
    // Names of extensions' parameters have a dot, each part of which is an identifier.
    let name: Vec<String> = name.split('.').map(quote_identifier).collect();
    format!("ALTER SYSTEM SET {} = {}", name.join("."), values.join(", "))
}

/// Whether an entry holds the value that a change sets; lists of names are compared by their elements.
pub(super) fn same_value(name: &str, entry: &str, to: &str) -> bool {
    entry == to || NAME_LISTS.contains(&name) && split_names(entry) == split_names(to)
}

/// Splits a list of names as the server does: commas outside double quotes, `""` for one inside.
fn split_names(list: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut quoted = false;
    let mut characters = list.trim().chars().peekable();
    while let Some(character) = characters.next() {
        let Some(last) = names.last_mut() else { break };
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                last.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(String::new()),
            c if c.is_whitespace() && !quoted => {}
            c => last.push(c),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_of_names_are_set_element_by_element() {
        assert_eq!(
            set_statement("search_path", "\"$user\", public"),
            "ALTER SYSTEM SET search_path = '$user', 'public'"
        );
        assert_eq!(
            set_statement("pg_stat_statements.max", "5000"),
            "ALTER SYSTEM SET pg_stat_statements.max = '5000'"
        );
        assert_eq!(split_names("\"a\"\"b, c\", d"), ["a\"b, c", "d"]);
    }

    #[test]
    fn values_are_literals_whatever_they_contain() {
        assert_eq!(
            set_statement("log_line_prefix", "it's; DROP"),
            "ALTER SYSTEM SET log_line_prefix = 'it''s; DROP'"
        );
    }

    /// As the server writes an element of such a list: always in double quotes, `""` for one inside.
    fn quoted(name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    proptest! {
        #[test]
        fn a_list_that_the_server_wrote_splits_into_its_names(
            names in proptest::collection::vec("[a-zA-Z$ ,\"'äö]{1,8}", 0..6), space in "[ ]{0,2}",
        ) {
            let list: Vec<String> = names.iter().map(|name| quoted(name)).collect();
            prop_assert_eq!(split_names(&list.join(&format!(",{space}"))), names);
        }

        #[test]
        fn any_text_splits_without_empty_names(text in any::<String>()) {
            prop_assert!(split_names(&text).iter().all(|name| !name.is_empty()));
        }

        #[test]
        fn a_value_stays_one_literal(value in any::<String>()) {
            let statement = set_statement("log_line_prefix", &value);
            let literal = statement.strip_prefix("ALTER SYSTEM SET log_line_prefix = ").unwrap();
            prop_assert_eq!(literal, quote_literal(&value));
        }
    }
}
