//! Finds the programs of PostgreSQL and PgBouncer on this machine.

use crate::TestkitError;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A PostgreSQL server installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Directory of `initdb`, `postgres` and `pg_ctl`.
    pub bin_dir: PathBuf,
    /// Major version, e.g. 15.
    pub major: u32,
}

/// Names the directory of the server's programs where no argument does; the tests of one version after another
/// set it.
pub const POSTGRES_BIN_VARIABLE: &str = "PGASSAY_POSTGRES_BIN";

const PROGRAMS: [&str; 3] = ["initdb", "postgres", "pg_ctl"];
const INSTALL_POSTGRES: &str = "install one (Debian/Ubuntu: apt install postgresql; Fedora: dnf install postgresql-server; macOS: brew install postgresql), or name its directory with --postgres-bin";
const INSTALL_PGBOUNCER: &str = "install it (Debian/Ubuntu: apt install pgbouncer; Fedora: dnf install pgbouncer; macOS: brew install pgbouncer)";

/// Finds a PostgreSQL server: in `bin`, or what [`POSTGRES_BIN_VARIABLE`] names, when given and nowhere else;
/// else in `PATH`, where `pg_config` points, and in the usual places of Debian, Fedora and Homebrew, the newest
/// major version first.
pub fn find_postgres(bin: Option<&Path>) -> Result<Installation, TestkitError> {
    let named = std::env::var_os(POSTGRES_BIN_VARIABLE).map(PathBuf::from);
    let bin = bin.or(named.as_deref());
    let candidates: Vec<PathBuf> = match bin {
        Some(directory) => vec![directory.to_path_buf()],
        None => {
            let mut candidates: Vec<PathBuf> = search_path();
            candidates.extend(pg_config_bindir());
            candidates.extend(usual_places());
            candidates
        }
    };
    for directory in &candidates {
        if PROGRAMS.iter().all(|program| directory.join(program).is_file())
            && let Some(major) = major_version(directory)
        {
            return Ok(Installation { bin_dir: directory.clone(), major });
        }
    }
    Err(TestkitError::NotFound {
        program: "PostgreSQL server",
        places: match bin {
            Some(directory) => directory.display().to_string(),
            None => "PATH, pg_config --bindir, /usr/lib/postgresql, /usr/pgsql-*, Homebrew".into(),
        },
        remedy: INSTALL_POSTGRES,
    })
}

/// Finds a PostgreSQL server of one major version: in `bin` or what [`POSTGRES_BIN_VARIABLE`] names where that is
/// it, else in the places of [`find_postgres`]. None: there is none on this machine.
pub fn find_postgres_major(bin: Option<&Path>, major: u32) -> Option<Installation> {
    let mut candidates: Vec<PathBuf> = bin.map(Path::to_path_buf).into_iter().collect();
    candidates.extend(std::env::var_os(POSTGRES_BIN_VARIABLE).map(PathBuf::from));
    // Where the directory's name tells the version, that one's program is asked first.
    let (named, others): (Vec<PathBuf>, Vec<PathBuf>) = usual_places()
        .into_iter()
        .partition(|place| place.to_string_lossy().contains(&major.to_string()));
    candidates.extend(named);
    candidates.extend(search_path());
    candidates.extend(pg_config_bindir());
    candidates.extend(others);
    candidates
        .into_iter()
        .filter(|directory| PROGRAMS.iter().all(|program| directory.join(program).is_file()))
        .find(|directory| major_version(directory) == Some(major))
        .map(|bin_dir| Installation { bin_dir, major })
}

/// Finds the `pgbouncer` program: as given, else in `PATH` and in `/usr/sbin`, `/usr/local/sbin`, Homebrew.
pub fn find_pgbouncer(binary: Option<&Path>) -> Result<PathBuf, TestkitError> {
    let candidates: Vec<PathBuf> = match binary {
        Some(file) => vec![file.to_path_buf()],
        None => {
            let mut directories = search_path();
            directories.extend(
                ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"]
                    .map(PathBuf::from),
            );
            directories.into_iter().map(|directory| directory.join("pgbouncer")).collect()
        }
    };
    candidates.into_iter().find(|file| file.is_file()).ok_or_else(|| TestkitError::NotFound {
        program: "PgBouncer",
        places: match binary {
            Some(file) => file.display().to_string(),
            None => "PATH, /usr/sbin, /usr/local/sbin, Homebrew".into(),
        },
        remedy: INSTALL_PGBOUNCER,
    })
}

fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

fn pg_config_bindir() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (!text.trim().is_empty()).then(|| PathBuf::from(text.trim()))
}

/// Versioned directories, the newest first.
fn usual_places() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, prefix, suffix) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/opt/homebrew/opt", "postgresql@", "bin"),
        ("/usr/local/opt", "postgresql@", "bin"),
    ] {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(Ok(major)) = name.strip_prefix(prefix).map(str::parse::<u32>) {
                found.push((major, entry.path().join(suffix)));
            }
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, directory)| directory).collect()
}

/// From `postgres (PostgreSQL) 15.18 (Debian …)`.
fn major_version(directory: &Path) -> Option<u32> {
    let output = Command::new(directory.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let word =
        text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    word.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_directory_without_a_server_is_refused_with_what_to_install() {
        let error = find_postgres(Some(Path::new("/nonexistent"))).unwrap_err().to_string();
        assert!(
            error.contains("/nonexistent") && error.contains("apt install postgresql"),
            "{error}"
        );
    }

    #[test]
    fn this_machine_has_the_servers_that_the_tests_need() {
        assert!(find_postgres(None).unwrap().major >= 13);
        assert!(find_pgbouncer(None).unwrap().is_file());
    }
}
