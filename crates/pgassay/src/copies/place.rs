//! Where copies of a server lie: a directory of this process alone, removed with it, and those that earlier
//! processes were killed in.

use crate::failure::Failure;
use crate::progress::Progress;
use nix::sys::signal::kill;
use nix::unistd::{Pid, Uid};
use std::fs::{File, TryLockError};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Begins the name of every such directory.
const PREFIX: &str = "pgassay-copies-";
/// An empty directory younger than this may be one that another process has made and not locked yet.
const JUST_MADE: Duration = Duration::from_secs(60);

/// A directory for copies; dropped, it is removed with all in it.
#[derive(Debug)]
pub struct CopyPlace {
    directory: tempfile::TempDir,
    // Held until this process ends, however it ends: so the next one knows what it may remove.
    _lock: File,
}

impl CopyPlace {
    /// Removes what processes that were killed have left in the temporary directory, and makes a new place there.
    pub fn make(progress: &Progress) -> Result<CopyPlace, Failure> {
        let parent = std::env::temp_dir();
        for line in remove_leftovers(&parent) {
            progress.say(line);
        }
        let cannot = |error: std::io::Error| {
            Failure::input(
                format!("no place for copies in {}: {error}", parent.display()),
                "set TMPDIR to a directory with room for the copies",
            )
        };
        let directory =
            tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent).map_err(cannot)?;
        let lock = File::open(directory.path()).map_err(cannot)?;
        lock.lock().map_err(cannot)?;
        // Its servers run as another account where we are root.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711))
            .map_err(cannot)?;
        Ok(CopyPlace { directory, _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes our own places in `parent` whose processes are gone; says what was removed, and what could not be.
fn remove_leftovers(parent: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .filter_map(|entry| left_over(&entry.path()))
        .map(|(path, _lock)| match running_server(&path) {
            Some(pid) => format!(
                "warning: {} was left by a pgassay that was killed, and server process {pid} still runs in it; \
                 once it has stopped, the next run removes the directory",
                path.display()
            ),
            None => match std::fs::remove_dir_all(&path) {
                Ok(()) => format!("removed {}, left by a pgassay that was killed", path.display()),
                Err(error) => format!(
                    "warning: {} was left by a pgassay that was killed and cannot be removed: {error}",
                    path.display()
                ),
            },
        })
        .collect()
}

/// The place with the lock on it, where it is ours and no living process holds it.
fn left_over(path: &Path) -> Option<(PathBuf, File)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    if !found.is_dir() || found.uid() != Uid::effective().as_raw() {
        return None;
    }
    let lock = File::open(path).ok()?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
    }
    let empty = std::fs::read_dir(path).ok()?.next().is_none();
    let young = found.modified().ok()?.elapsed().is_ok_and(|age| age < JUST_MADE);
    (!(empty && young)).then(|| (path.to_path_buf(), lock))
}

/// The process id of a server that still runs on a data directory within `place`.
fn running_server(place: &Path) -> Option<i32> {
    std::fs::read_dir(place).ok()?.flatten().find_map(|copy| {
        let file = copy.path().join("data/postmaster.pid");
        let pid = std::fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()?;
        kill(Pid::from_raw(pid), None).is_ok().then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let path = parent.path().join(format!("{PREFIX}{name}"));
            std::fs::create_dir_all(path.join("a/data")).unwrap();
            path
        };
        let (dead, alive, serving) = (place("dead"), place("alive"), place("serving"));
        std::fs::write(serving.join("a/data/postmaster.pid"), format!("{}\n", std::process::id()))
            .unwrap();
        let other = parent.path().join("pgassay-else");
        std::fs::create_dir(&other).unwrap();
        let _held = {
            let lock = File::open(&alive).unwrap();
            lock.lock().unwrap();
            lock
        };
        let said = remove_leftovers(parent.path()).join("\n");
        assert!(!dead.exists() && alive.exists() && serving.exists() && other.exists(), "{said}");
        assert!(said.contains("removed") && said.contains("still runs"), "{said}");
    }

    #[test]
    fn a_place_that_another_process_is_just_making_is_left_to_it() {
        let parent = tempfile::tempdir().unwrap();
        let new = parent.path().join(format!("{PREFIX}new"));
        std::fs::create_dir(&new).unwrap();
        assert!(remove_leftovers(parent.path()).is_empty());
        assert!(new.exists());
    }

    #[test]
    fn a_place_goes_with_its_value() {
        let place = CopyPlace::make(&Progress::new(true)).unwrap();
        let path = place.path().to_path_buf();
        std::fs::create_dir(path.join("a")).unwrap();
        drop(place);
        assert!(!path.exists());
    }
}
