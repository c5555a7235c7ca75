//! Runs the binary as a user would.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

/// What a run of the binary printed, and its exit status.
pub struct Answer {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    /// The one JSON document on standard output.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("not one JSON document ({error}): {}\n{}", self.stdout, self.stderr)
        })
    }
}

/// Runs pgassay with its state in `state`.
pub fn pgassay(state: &Path, arguments: &[&str]) -> Answer {
    let Output { status, stdout, stderr } = command(state).args(arguments).output().unwrap();
    Answer {
        status: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// The binary with an environment of its own.
pub fn command(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgassay"));
    command.env("PGASSAY_STATE", state);
    for name in ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSERVICE", "PGSSLMODE"] {
        command.env_remove(name);
    }
    command
}
