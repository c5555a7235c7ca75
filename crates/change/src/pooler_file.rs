//! A file of PgBouncer's: whether it can be replaced, its backup, and how it stands against both.

use crate::error::ChangeError;
use crate::recovery::Standing;
use nix::unistd::{AccessFlags, access, geteuid};
use pgassay_model::change::Undo;
use pgassay_pgbouncer::{PgBouncerError, files};
use sha2::{Digest, Sha256};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Copies the file, which has to hold `before`, to `directory`; an older backup of a failed attempt stays.
/// `secret`: only its owner may read the copy, whoever may read the file.
pub(crate) fn back_up(
    path: &Path,
    before: &[u8],
    directory: &Path,
    change: &str,
    secret: bool,
) -> Result<Undo, ChangeError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Ids come from a plan's file: they name no other directory.
    let id: String =
        change.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let mut attempt = 1;
    let backup = loop {
        let backup = directory.join(format!("{id}-{attempt}-{name}"));
        match files::back_up(path, &backup) {
            Ok(()) => break backup,
            Err(PgBouncerError::File { source, .. })
                if source.kind() == std::io::ErrorKind::AlreadyExists =>
            {
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    };
    if secret {
        std::fs::set_permissions(&backup, std::fs::Permissions::from_mode(0o600))
            .map_err(|source| ChangeError::file("protecting", &backup, source))?;
    }
    let content = read(&backup)?;
    if content != before {
        return Err(PgBouncerError::FileChanged { path: path.to_path_buf() }.into());
    }
    Ok(Undo::RestoreFile { path: path.to_path_buf(), backup, sha256: sha256(&content) })
}

/// How the file stands: as backed up, as the change was to write it (`expected`, a SHA-256), or neither.
pub(crate) fn standing(
    path: &Path,
    backup: &Path,
    sha256_of_backup: &str,
    expected: Option<&str>,
) -> Result<Standing, ChangeError> {
    let remedy = vec![
        format!("diff {} {}", backup.display(), path.display()),
        format!("to restore it: cat {} > {}", backup.display(), path.display()),
        "then RELOAD in PgBouncer's console".to_owned(),
    ];
    let content = match std::fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Standing::Unknown { found: format!("{} is gone", path.display()), remedy });
        }
        Err(error) => return Err(ChangeError::file("reading", path, error)),
    };
    let found = sha256(&content);
    if found == sha256_of_backup {
        return Ok(Standing::Before);
    }
    if Some(found.as_str()) == expected {
        return Ok(Standing::After);
    }
    let lines = std::fs::read(backup).map(|backup| differing_lines(&backup, &content));
    Ok(Standing::Unknown {
        found: format!(
            "{} is neither as it was before the change nor as the change wrote it{}; somebody else edited it",
            path.display(),
            lines.map(|lines| format!(" (against the backup, {lines})")).unwrap_or_default()
        ),
        remedy,
    })
}

/// Which lines differ, without what they hold: it may be a secret.
fn differing_lines(before: &[u8], now: &[u8]) -> String {
    let split = |bytes: &[u8]| -> Vec<Vec<u8>> {
        bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let (before, now) = (split(before), split(now));
    let same = before.iter().zip(&now).take_while(|(a, b)| a == b).count();
    let tail = before.iter().rev().zip(now.iter().rev()).take_while(|(a, b)| a == b).count();
    let last = now.len().saturating_sub(tail).max(same + 1);
    if last == same + 1 {
        format!("line {last} differs")
    } else {
        format!("lines {} to {last} differ", same + 1)
    }
}

/// Whether the file can be replaced with its owner kept.
pub(crate) fn replaceable(file: &Path) -> Result<(), String> {
    let target: PathBuf =
        file.canonicalize().map_err(|error| format!("{}: {error}", file.display()))?;
    let directory = target.parent().unwrap_or(Path::new("/"));
    access(directory, AccessFlags::W_OK)
        .map_err(|error| format!("no file can be written in {}: {error}", directory.display()))?;
    let owner =
        std::fs::metadata(&target).map_err(|error| format!("{}: {error}", target.display()))?.uid();
    let own = geteuid();
    if own.is_root() || own.as_raw() == owner {
        return Ok(());
    }
    Err(format!(
        "{} belongs to another user, whom only root could keep as its owner",
        file.display()
    ))
}

/// Whether two paths are one file.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// A file's content.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ChangeError> {
    std::fs::read(path).map_err(|source| ChangeError::file("reading", path, source))
}

/// SHA-256, hexadecimal.
pub(crate) fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
