//! What a GIN operator class cuts a value into, as far as the text of the value tells: the elements of an array, the
//! keys and values of a document, the trigrams and words of a text.

use crate::index::IndexKey;
use serde_json::Value;
use std::collections::BTreeSet;

/// How values are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// `array_ops`.
    Elements,
    /// `jsonb_ops`: keys and values.
    Document,
    /// `jsonb_path_ops`: hashes of a path and its value.
    Paths,
    /// `gin_trgm_ops`.
    Trigrams,
    /// `tsvector_ops`, of a value whose text is the text that the lexemes come from.
    Words,
    /// `tsvector_ops`, of a value of type tsvector.
    Lexemes,
    /// btree_gin: the value itself.
    Whole,
}

/// A key of an index that a value has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// What it is one of: values of one path of documents are alike, those of different paths are not.
    pub(super) group: String,
    /// The key, as text.
    pub(super) text: String,
    /// Bytes of the key as it is stored, its header included.
    pub(super) bytes: usize,
}

impl Cut {
    /// How an index key of a type, or of an expression, is cut.
    pub(super) fn of(key: &IndexKey, type_name: &str) -> Self {
        let opclass = key.opclass.as_deref().unwrap_or_default();
        let of_text =
            key.expression.as_deref().is_some_and(|text| text.starts_with("to_tsvector("));
        if opclass.ends_with("gin_trgm_ops") {
            Cut::Trigrams
        } else if opclass.ends_with("jsonb_path_ops") {
            Cut::Paths
        } else if of_text {
            Cut::Words
        } else if type_name.ends_with("[]") {
            Cut::Elements
        } else if type_name == "tsvector" {
            Cut::Lexemes
        } else if type_name == "jsonb" {
            Cut::Document
        } else {
            Cut::Whole
        }
    }

    /// The distinct keys that a value has; None: its text can't be read, or does not tell.
    pub(super) fn parts(self, value: &str) -> Option<BTreeSet<Part>> {
        let mut parts = BTreeSet::new();
        let mut add = |group: &str, text: String, bytes: usize| {
            parts.insert(Part { group: group.to_owned(), text, bytes });
        };
        match self {
            Cut::Elements => {
                for element in elements(value)? {
                    let bytes = stored(element.len());
                    add("", element, bytes);
                }
            }
            Cut::Document => {
                let document = serde_json::from_str(value).ok()?;
                // A flag byte stands before the text (`make_text_key` in jsonb_gin.c).
                document_parts(&document, "", &mut |group, text| {
                    let bytes = stored(text.len().min(125) + 1);
                    add(group, text, bytes);
                });
            }
            Cut::Paths => {
                let document = serde_json::from_str(value).ok()?;
                leaves(&document, "", &mut |path, text| add(path, text, 4));
            }
            Cut::Trigrams => {
                for trigram in trigrams(value) {
                    // Three bytes are kept as an integer (`gin_extract_value_trgm` in trgm_gin.c).
                    add("", trigram, 4);
                }
            }
            Cut::Words => {
                for word in words(value) {
                    let bytes = stored(word.len());
                    add("", word, bytes);
                }
            }
            Cut::Whole => add("", value.to_owned(), stored(value.len())),
            Cut::Lexemes => return None,
        }
        Some(parts)
    }
}

/// Bytes with the short header of a value of varying length.
fn stored(bytes: usize) -> usize {
    bytes + 1
}

/// The elements of an array's text, of whatever depth: `{a,"b c",NULL}`.
fn elements(text: &str) -> Option<Vec<String>> {
    // Bounds other than 1 stand in front: `[0:2]={…}`.
    let inner = text.get(text.find('{')?..)?;
    let mut elements = Vec::new();
    let mut element = String::new();
    let (mut quoted, mut was_quoted) = (false, false);
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match (quoted, character) {
            (_, '\\') => element.extend(characters.next()),
            (_, '"') => {
                quoted = !quoted;
                was_quoted = true;
            }
            (false, '{' | ',' | '}') => {
                if was_quoted || !(element.is_empty() || element == "NULL") {
                    elements.push(std::mem::take(&mut element));
                }
                element.clear();
                was_quoted = false;
            }
            (_, other) => element.push(other),
        }
    }
    Some(elements)
}

/// Keys, strings within arrays (which count as keys), and scalar values (`gin_extract_jsonb`).
fn document_parts(value: &Value, path: &str, add: &mut dyn FnMut(&str, String)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                add("", format!("key {name}"));
                document_parts(member, &format!("{path}.{name}"), add);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                match element {
                    Value::String(text) => add(path, text.clone()),
                    other => document_parts(other, path, add),
                }
            }
        }
        Value::String(text) => add(path, text.clone()),
        scalar => add(path, scalar.to_string()),
    }
}

/// Scalar values with their paths.
fn leaves(value: &Value, path: &str, add: &mut dyn FnMut(&str, String)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                leaves(member, &format!("{path}.{name}"), add);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| leaves(element, path, add)),
        scalar => add(path, scalar.to_string()),
    }
}

/// Words in lower case, each padded with two blanks before and one after, in threes (manual, pg_trgm, "Trigram (or
/// Trigraph) Concepts").
fn trigrams(text: &str) -> Vec<String> {
    let mut trigrams = Vec::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let padded: Vec<char> =
            "  ".chars().chain(word.to_lowercase().chars()).chain(" ".chars()).collect();
        trigrams.extend(padded.windows(3).map(|three| three.iter().collect::<String>()));
    }
    trigrams
}

/// Words in lower case. Stemming and stop words depend on the configuration and are left out: what is too short to
/// be told from a stop word is no word here.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 2)
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn texts(cut: Cut, value: &str) -> Vec<String> {
        cut.parts(value).unwrap().into_iter().map(|part| part.text).collect()
    }

    #[test]
    fn an_array_is_cut_into_its_distinct_elements() {
        assert_eq!(
            texts(Cut::Elements, r#"{b,a,b,"c, d",NULL,"x\"y"}"#),
            ["a", "b", "c, d", "x\"y"]
        );
        assert_eq!(texts(Cut::Elements, "{{1,2},{3,1}}"), ["1", "2", "3"]);
        assert!(texts(Cut::Elements, "{}").is_empty());
    }

    #[test]
    fn a_document_is_cut_into_keys_and_values_or_into_values_with_their_paths() {
        let document = r#"{"user": 7, "tags": ["a", "b"], "in": {"user": 7}}"#;
        assert_eq!(
            texts(Cut::Document, document),
            ["key in", "key tags", "key user", "7", "a", "b", "7"]
        );
        let paths: Vec<String> = Cut::Paths
            .parts(document)
            .unwrap()
            .into_iter()
            .map(|part| format!("{} {}", part.group, part.text))
            .collect();
        assert_eq!(paths, [".in.user 7", ".tags \"a\"", ".tags \"b\"", ".user 7"]);
        assert_eq!(Cut::Document.parts("{cut off"), None);
    }

    #[test]
    fn a_text_is_cut_into_trigrams_as_the_extension_shows_them() {
        // SELECT show_trgm('Cat, at')
        assert_eq!(texts(Cut::Trigrams, "Cat, at"), ["  a", "  c", " at", " ca", "at ", "cat"]);
    }
}
