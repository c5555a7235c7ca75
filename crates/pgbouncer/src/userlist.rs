//! The userlist (`auth_file`), lossless: everything but a replaced secret stays byte for byte.

use crate::PgBouncerError;
use pgassay_model::connection::Secret;
use pgassay_model::pooler::SecretKind;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// A userlist. Never prints a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Userlist {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    user: String,
    /// Between the quotes.
    secret: Range<usize>,
}

impl fmt::Debug for Userlist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Userlist").field("secrets", &self.secrets()).finish_non_exhaustive()
    }
}

impl Userlist {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Userlist, PgBouncerError> {
        Userlist::parse(&std::fs::read(path).map_err(PgBouncerError::file("reading", path))?, path)
    }

    /// Reads bytes as PgBouncer does: `"user" "secret"` and anything after it on the line, `;` comments.
    /// `path` is only for messages.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Userlist, PgBouncerError> {
        let mut entries = Vec::new();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte.is_ascii_whitespace() || byte == 0x0b {
                at += 1;
            } else if byte == b';' {
                at = end_of_line(bytes, at);
            } else {
                let broken = |problem: &str| PgBouncerError::Syntax {
                    path: path.to_path_buf(),
                    line: bytes.iter().take(at).filter(|byte| **byte == b'\n').count() + 1,
                    problem: format!("{problem}; PgBouncer reads no user after this line"),
                };
                if byte != b'"' {
                    return Err(broken("a user name in double quotes is missing"));
                }
                let user = quoted(bytes, at).ok_or_else(|| broken("a quote is not closed"))?;
                let open = bytes
                    .iter()
                    .skip(user.end + 1)
                    .position(|byte| *byte == b'"')
                    .map(|offset| user.end + 1 + offset)
                    .ok_or_else(|| broken("the secret in double quotes is missing"))?;
                if open > end_of_line(bytes, user.end) {
                    return Err(broken(
                        "the secret in double quotes is missing on the user's line",
                    ));
                }
                let secret = quoted(bytes, open).ok_or_else(|| broken("a quote is not closed"))?;
                at = end_of_line(bytes, secret.end);
                entries.push(Entry { user: unquoted(bytes, user), secret });
            }
        }
        Ok(Userlist { bytes: bytes.to_vec(), entries })
    }

    /// How each user's secret is kept; the last line of a user wins.
    pub fn secrets(&self) -> BTreeMap<String, SecretKind> {
        self.entries
            .iter()
            .map(|entry| (entry.user.clone(), kind(&unquoted(&self.bytes, entry.secret.clone()))))
            .collect()
    }

    /// The password of a user kept in plain text, as PgBouncer takes it (the last line wins); None for any
    /// other kind of secret.
    pub fn plain_text(&self, user: &str) -> Option<Secret> {
        let entry = self.entries.iter().rev().find(|entry| entry.user == user)?;
        let secret = unquoted(&self.bytes, entry.secret.clone());
        (kind(&secret) == SecretKind::Plain).then(|| Secret::new(secret))
    }

    /// Replaces the secret of a user, on every line of that user; false where there is none.
    pub fn replace_secret(&mut self, user: &str, secret: &Secret) -> bool {
        let quoted = secret.expose().replace('"', "\"\"").into_bytes();
        let mut found = false;
        let mut grown: isize = 0;
        for entry in &mut self.entries {
            let start = entry.secret.start.saturating_add_signed(grown);
            let end = entry.secret.end.saturating_add_signed(grown);
            entry.secret = start..end;
            if entry.user == user {
                found = true;
                self.bytes.splice(start..end, quoted.iter().copied());
                entry.secret = start..start + quoted.len();
                grown += quoted.len() as isize - (end - start) as isize;
            }
        }
        found
    }

    /// The file's content; identical to what was read unless a secret was replaced.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}

/// How a secret is kept.
fn kind(secret: &str) -> SecretKind {
    let md5 = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if secret.is_empty() {
        SecretKind::Empty
    } else if secret.starts_with("SCRAM-SHA-256$") {
        SecretKind::Scram
    } else if secret.strip_prefix("md5").is_some_and(md5) {
        SecretKind::Md5
    } else {
        SecretKind::Plain
    }
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    bytes.iter().skip(at).position(|byte| *byte == b'\n').map_or(bytes.len(), |offset| at + offset)
}

/// What stands between the quote at `open` and its closing one; a doubled quote is content.
fn quoted(bytes: &[u8], open: usize) -> Option<Range<usize>> {
    let mut at = open + 1;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'"', Some(b'"')) => at += 2,
            (b'"', _) => return Some(open + 1..at),
            _ => at += 1,
        }
    }
}

fn unquoted(bytes: &[u8], range: Range<usize>) -> String {
    String::from_utf8_lossy(bytes.get(range).unwrap_or_default()).replace("\"\"", "\"")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Userlist {
        Userlist::parse(text.as_bytes(), Path::new("userlist.txt")).unwrap()
    }

    #[test]
    fn secrets_are_told_apart() {
        let list = parse(
            "; comment\n\"plain\" \"pw\"\n\"old\" \"md5d41d8cd98f00b204e9800998ecf8427e\" trailing\n\
             \"new\"\t\"SCRAM-SHA-256$4096:a$b:c\"\n\"none\" \"\"\n\"md5ish\" \"md5pw\"\n",
        );
        let kinds: Vec<_> = list.secrets().into_values().collect();
        // In order of name: md5ish, new, none, old, plain.
        assert_eq!(
            kinds,
            [
                SecretKind::Plain,
                SecretKind::Scram,
                SecretKind::Empty,
                SecretKind::Md5,
                SecretKind::Plain
            ]
        );
    }

    #[test]
    fn replacing_a_secret_leaves_every_other_byte() {
        let mut list = parse(";c\r\n\"a\"  \"one\" ; x\r\n\n\"b \"\"q\" \"two\"\n\"a\" \"three\"");
        assert!(list.replace_secret("a", &Secret::new("S\"1")));
        assert!(list.replace_secret("b \"q", &Secret::new("longer than before")));
        assert!(!list.replace_secret("missing", &Secret::new("x")));
        assert_eq!(
            String::from_utf8(list.to_bytes()).unwrap(),
            ";c\r\n\"a\"  \"S\"\"1\" ; x\r\n\n\"b \"\"q\" \"longer than before\"\n\"a\" \"S\"\"1\""
        );
    }

    #[test]
    fn a_broken_line_is_an_error_with_its_number() {
        for (text, line) in
            [("\"a\" \"b\"\nc d\n", 2), ("\"a\" \"b", 1), ("\n\"a\"\n\"b\" \"c\"\n", 2)]
        {
            let error = Userlist::parse(text.as_bytes(), Path::new("u")).unwrap_err();
            assert!(error.to_string().contains(&format!("line {line}")), "{error}");
        }
    }

    #[test]
    fn no_secret_is_printed() {
        assert!(!format!("{:?}", parse("\"a\" \"hunter2\"\n")).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn untouched_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(list) = Userlist::parse(&bytes, Path::new("u")) {
                prop_assert_eq!(list.to_bytes(), bytes);
            }
        }

        #[test]
        fn a_replaced_secret_reads_back(users in proptest::collection::vec("[a-z\" ]{1,6}", 1..5), secret in "[ -~]{0,20}") {
            let text: String =
                users.iter().map(|user| format!("\"{}\" \"x\"\n", user.replace('"', "\"\""))).collect();
            let mut list = parse(&text);
            prop_assert!(list.replace_secret(&users[0], &Secret::new(secret.clone())));
            let again = Userlist::parse(&list.to_bytes(), Path::new("u")).unwrap();
            prop_assert_eq!(again.secrets().get(&users[0]).copied(), Some(kind(&secret)));
            prop_assert_eq!(&again, &list);
        }
    }
}
