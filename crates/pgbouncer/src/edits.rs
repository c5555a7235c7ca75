//! What an edit of PgBouncer makes of its files: values to values, nothing is written.

use crate::{Ini, PgBouncerError, Userlist};
use pgassay_model::change::PoolerEdit;
use pgassay_model::connection::Secret;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A file before and after an edit. Never prints its content, which may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct FileEdit {
    /// The file.
    pub path: PathBuf,
    /// Its content now.
    pub before: Vec<u8>,
    /// Its content afterwards.
    pub after: Vec<u8>,
}

impl fmt::Debug for FileEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileEdit").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Reads the edited file and computes its new content. `secrets` are the server's SCRAM secrets by user
/// (`pg_authid.rolpassword`), needed for a userlist only; `working_directory` is PgBouncer's, where relative
/// includes are looked up.
pub fn edits(
    edit: &PoolerEdit,
    secrets: &BTreeMap<String, Secret>,
    working_directory: &Path,
) -> Result<FileEdit, PgBouncerError> {
    match edit {
        PoolerEdit::Ini { ini, settings } => {
            let before = std::fs::read(ini).map_err(PgBouncerError::file("reading", ini))?;
            let mut file = Ini::parse(&before, ini, working_directory)?;
            for setting in settings {
                file.set(&setting.key, &setting.to)?;
            }
            Ok(FileEdit { path: ini.clone(), before, after: file.to_bytes() })
        }
        PoolerEdit::Userlist { userlist, users, .. } => {
            let before =
                std::fs::read(userlist).map_err(PgBouncerError::file("reading", userlist))?;
            let mut file = Userlist::parse(&before, userlist)?;
            for user in users {
                let refused = |reason: &str| PgBouncerError::NotEditable {
                    what: format!("the secret of {user}"),
                    path: userlist.clone(),
                    reason: reason.into(),
                };
                let secret = secrets
                    .get(user)
                    .ok_or_else(|| refused("the server gave no secret for this role"))?;
                if !secret.expose().starts_with("SCRAM-SHA-256$") {
                    return Err(refused(
                        "the server keeps no SCRAM secret for this role; set its password again with password_encryption = 'scram-sha-256'",
                    ));
                }
                if !file.replace_secret(user, secret) {
                    return Err(refused("the user is not in the file"));
                }
            }
            Ok(FileEdit { path: userlist.clone(), before, after: file.to_bytes() })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use pgassay_model::change::PoolerSettingChange;

    #[test]
    fn a_setting_and_a_secret_are_edited_in_their_files() {
        let directory = tempfile::tempdir().unwrap();
        let (ini, userlist) = (directory.path().join("i"), directory.path().join("u"));
        std::fs::write(&ini, "[pgbouncer]\na = 1\n").unwrap();
        std::fs::write(&userlist, "\"app\" \"pw\"\n").unwrap();
        let setting = PoolerSettingChange { key: "a".into(), from: "1".into(), to: "2".into() };
        let edit = PoolerEdit::Ini { ini: ini.clone(), settings: vec![setting] };
        let edited = edits(&edit, &BTreeMap::new(), Path::new("/")).unwrap();
        assert_eq!(edited.after, b"[pgbouncer]\na = 2\n");

        let edit = |user: &str| PoolerEdit::Userlist {
            ini: ini.clone(),
            userlist: userlist.clone(),
            users: vec![user.into()],
        };
        let secret =
            |text: &str, user: &str| BTreeMap::from([(user.to_string(), Secret::new(text))]);
        let scram = "SCRAM-SHA-256$4096:s$k:v";
        let edited = edits(&edit("app"), &secret(scram, "app"), Path::new("/")).unwrap();
        assert_eq!(edited.after, format!("\"app\" \"{scram}\"\n").into_bytes());
        assert!(!format!("{edited:?}").contains("pw"));
        assert!(edits(&edit("app"), &secret("md5abc", "app"), Path::new("/")).is_err());
        assert!(edits(&edit("app"), &BTreeMap::new(), Path::new("/")).is_err());
        assert!(edits(&edit("other"), &secret(scram, "other"), Path::new("/")).is_err());
    }
}
