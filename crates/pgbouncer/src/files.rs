//! Replacing a file so that a crash leaves either the old content or the new, never a part of one.

use crate::PgBouncerError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Begins the name of every temporary file.
const PREFIX: &str = ".pgassay-";

/// Backs a file up and replaces its content: refused where it no longer holds `before`.
pub fn edit_file_safely(
    path: &Path,
    before: &[u8],
    after: &[u8],
    backup: &Path,
) -> Result<(), PgBouncerError> {
    if std::fs::read(path).map_err(PgBouncerError::file("reading", path))? != before {
        return Err(PgBouncerError::FileChanged { path: path.to_path_buf() });
    }
    back_up(path, backup)?;
    replace(path, before, after)
}

/// Copies a file with its mode and owner to `backup`, which must not exist yet, and makes the copy durable.
pub fn back_up(path: &Path, backup: &Path) -> Result<(), PgBouncerError> {
    let failed = || PgBouncerError::file("backing up", path);
    let content = std::fs::read(path).map_err(failed())?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(backup)
        .map_err(PgBouncerError::file("creating", backup))?;
    file.write_all(&content).map_err(PgBouncerError::file("writing", backup))?;
    take_over(&file, path).map_err(failed())?;
    file.sync_all().map_err(PgBouncerError::file("writing", backup))?;
    sync_directory(backup)
}

/// Replaces a file's content through a temporary file beside it; owner and mode stay, a symbolic link is
/// followed. Refused where the file no longer holds `before`. ACLs and extended attributes are not kept.
pub fn replace(path: &Path, before: &[u8], after: &[u8]) -> Result<(), PgBouncerError> {
    let target: PathBuf = path.canonicalize().map_err(PgBouncerError::file("finding", path))?;
    let directory = target.parent().unwrap_or(Path::new("/"));
    remove_left_over(path);
    let mut temporary = temporary_in(directory)
        .map_err(PgBouncerError::file("creating a temporary file in", directory))?;
    let failed = || PgBouncerError::file("writing", &target);
    temporary.write_all(after).map_err(failed())?;
    take_over(temporary.as_file(), &target).map_err(failed())?;
    temporary.as_file().sync_all().map_err(failed())?;
    if std::fs::read(&target).map_err(PgBouncerError::file("reading", &target))? != before {
        return Err(PgBouncerError::FileChanged { path: path.to_path_buf() });
    }
    temporary.persist(&target).map_err(|error| failed()(error.error))?;
    sync_directory(&target)
}

/// A temporary file with a lock on it, by which others know that it is in use. One that somebody took for left
/// over before it was locked is made anew.
fn temporary_in(directory: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    loop {
        let temporary = tempfile::Builder::new().prefix(PREFIX).tempfile_in(directory)?;
        temporary.as_file().lock()?;
        if temporary.path().exists() {
            return Ok(temporary);
        }
    }
}

/// Removes the temporary files beside `path` whose processes were killed: they hold what it was to hold, secrets
/// too. What can't be removed is logged, since it keeps nothing from working.
pub fn remove_left_over(path: &Path) {
    let Ok(target) = path.canonicalize() else { return };
    let directory = target.parent().unwrap_or(Path::new("/"));
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.file_type().is_ok_and(|kind| kind.is_file());
        if !ours {
            continue;
        }
        let removed = File::open(entry.path()).and_then(|file| match file.try_lock() {
            Ok(()) => std::fs::remove_file(entry.path()),
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => Err(error),
        });
        if let Err(error) = removed {
            tracing::warn!(file = %entry.path().display(), %error, "a temporary file is left");
        }
    }
}

/// Gives `file` the owner, group and mode of `model`.
fn take_over(file: &File, model: &Path) -> std::io::Result<()> {
    let wanted = std::fs::metadata(model)?;
    let given = file.metadata()?;
    if (wanted.uid(), wanted.gid()) != (given.uid(), given.gid()) {
        std::os::unix::fs::fchown(file, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    file.set_permissions(std::fs::Permissions::from_mode(wanted.mode() & 0o7777))
}

fn sync_directory(path: &Path) -> Result<(), PgBouncerError> {
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(PgBouncerError::file("making durable", directory))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn content_changes_and_mode_owner_and_link_stay() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("real.ini");
        let link = directory.path().join("link.ini");
        let backup = directory.path().join("backup");
        std::fs::write(&real, "old").unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&real, Some(65534), Some(65534)).unwrap();
        }
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let owner = std::fs::metadata(&real).unwrap().uid();

        edit_file_safely(&link, b"old", b"new", &backup).unwrap();

        assert!(link.is_symlink());
        for (file, content) in [(&real, "new"), (&backup, "old")] {
            let metadata = std::fs::metadata(file).unwrap();
            assert_eq!(std::fs::read_to_string(file).unwrap(), content);
            assert_eq!(metadata.mode() & 0o7777, 0o640);
            assert_eq!(metadata.uid(), owner);
        }
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            3,
            "no temporary file stays"
        );
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a");
        std::fs::write(&file, "someone else's").unwrap();
        for result in [
            replace(&file, b"old", b"new"),
            edit_file_safely(&file, b"old", b"new", &directory.path().join("b")),
        ] {
            assert!(matches!(result, Err(PgBouncerError::FileChanged { .. })));
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "someone else's");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_temporary_file_goes_with_the_next_edit_unless_it_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("userlist.txt");
        std::fs::write(&file, "old").unwrap();
        let killed = directory.path().join(".pgassay-killed");
        std::fs::write(&killed, "secret").unwrap();
        let used = temporary_in(directory.path()).unwrap();
        replace(&file, b"old", b"new").unwrap();
        assert!(!killed.exists());
        assert!(used.path().exists());
        drop(used);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_older_backup_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let (file, backup) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::write(&file, "x").unwrap();
        std::fs::write(&backup, "precious").unwrap();
        assert!(edit_file_safely(&file, b"x", b"y", &backup).is_err());
        assert_eq!(std::fs::read_to_string(&backup).unwrap(), "precious");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "x");
    }
}
