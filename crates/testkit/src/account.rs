//! The account that servers run as: our own, or when that is root an unprivileged one.

use crate::TestkitError;
use nix::unistd::{Uid, User, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

/// Whose rights the servers run with; None: our own.
#[derive(Debug, Clone)]
pub(crate) struct Account(Option<User>);

impl Account {
    /// `postgres` or `nobody` when we are root, else our own account.
    pub(crate) fn choose() -> Result<Self, TestkitError> {
        if !Uid::effective().is_root() {
            return Ok(Account(None));
        }
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Account(Some(user)))
            .ok_or(TestkitError::NoAccount)
    }

    /// A command that runs as this account, in a directory it can enter.
    pub(crate) fn command(&self, program: &Path, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(directory);
        if let Some(user) = &self.0 {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
            command.env("HOME", directory).env("USER", &user.name).env("LOGNAME", &user.name);
        }
        for name in [
            "PGHOST",
            "PGPORT",
            "PGUSER",
            "PGPASSWORD",
            "PGDATABASE",
            "PGSERVICE",
            "PGOPTIONS",
            "PGDATA",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// Gives a file or directory to this account.
    pub(crate) fn own(&self, path: &Path) -> Result<(), TestkitError> {
        match &self.0 {
            None => Ok(()),
            Some(user) => chown(path, Some(user.uid), Some(user.gid)).map_err(|error| {
                TestkitError::File { path: path.to_path_buf(), source: error.into() }
            }),
        }
    }
}

/// Gives a directory and all in it to the account that servers run as, so that a server can be started on it.
pub fn give_to_server(directory: &Path) -> Result<(), TestkitError> {
    let account = Account::choose()?;
    let mut open = vec![directory.to_path_buf()];
    while let Some(path) = open.pop() {
        account.own(&path)?;
        if path.is_dir() && !path.is_symlink() {
            for entry in std::fs::read_dir(&path).map_err(TestkitError::file(&path))? {
                open.push(entry.map_err(TestkitError::file(&path))?.path());
            }
        }
    }
    Ok(())
}

/// Runs a command to its end; a failure carries the end of what it printed.
pub(crate) fn run(command: &mut Command) -> Result<Output, TestkitError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(TestkitError::file(&program))?;
    if output.status.success() {
        return Ok(output);
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(TestkitError::Program { program, status: output.status.to_string(), output: tail(&text) })
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
