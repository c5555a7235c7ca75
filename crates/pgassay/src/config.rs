//! The settings file: TOML whose keys are the flags' names, put into the command line where no flag was given.
//!
//! Top-level keys are flags that every command takes; a table named after a command holds that command's own.

use crate::cli::Cli;
use crate::failure::Failure;
use clap::{ArgAction, CommandFactory};
use std::ffi::OsString;
use std::path::Path;

/// The arguments with what the file named by `--config` adds; flags given on the command line win.
pub fn with_settings(arguments: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    let Some(path) = config_path(&arguments) else { return Ok(arguments) };
    let path = Path::new(&path);
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::input(format!("cannot read {}: {error}", path.display()), "check --config")
    })?;
    add(arguments, &text, &path.display().to_string())
}

fn config_path(arguments: &[OsString]) -> Option<OsString> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            return None;
        }
        if argument == "--config" {
            return rest.next().cloned();
        }
        if let Some(path) = argument.to_str().and_then(|text| text.strip_prefix("--config=")) {
            return Some(path.into());
        }
    }
    None
}

fn add(mut arguments: Vec<OsString>, text: &str, file: &str) -> Result<Vec<OsString>, Failure> {
    let settings: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        Failure::input(
            format!("{file} is not TOML: {}", error.message()),
            "a line is KEY = VALUE, as the flags are named",
        )
    })?;
    let command = Cli::command();
    let chosen = command.get_subcommands().find(|candidate| {
        arguments.iter().skip(1).any(|argument| argument == candidate.get_name())
    });
    let mut added = Vec::new();
    for (key, value) in &settings {
        if let toml::Value::Table(own) = value {
            let section = command
                .find_subcommand(key)
                .ok_or_else(|| unknown(file, key, "there is no such command"))?;
            for (key, value) in own {
                let flags = flags(section, key, value, file)?;
                if chosen.is_some_and(|chosen| chosen.get_name() == section.get_name())
                    && !given(&arguments, key)
                {
                    added.extend(flags);
                }
            }
            continue;
        }
        let flags = flags(&command, key, value, file)?;
        if !given(&arguments, key) {
            added.extend(flags);
        }
    }
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    arguments.splice(end..end, added.into_iter().map(OsString::from));
    Ok(arguments)
}

fn given(arguments: &[OsString], key: &str) -> bool {
    arguments.iter().filter_map(|argument| argument.to_str()).any(|argument| {
        argument.strip_prefix("--").is_some_and(|flag| flag.split('=').next() == Some(key))
    })
}

/// The flags of one key; a list repeats its flag.
fn flags(
    command: &clap::Command,
    key: &str,
    value: &toml::Value,
    file: &str,
) -> Result<Vec<String>, Failure> {
    let argument = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(key) && key != "config")
        .ok_or_else(|| unknown(file, key, "no flag has this name"))?;
    let switch = matches!(argument.get_action(), ArgAction::SetTrue | ArgAction::Count);
    let one = |value: &toml::Value| -> Result<Vec<String>, Failure> {
        match value {
            toml::Value::Boolean(on) if switch => {
                Ok(if *on { vec![format!("--{key}")] } else { Vec::new() })
            }
            _ if switch => Err(unknown(file, key, "its value is true or false")),
            toml::Value::String(text) => Ok(vec![format!("--{key}={text}")]),
            toml::Value::Integer(_) | toml::Value::Float(_) => Ok(vec![format!("--{key}={value}")]),
            _ => Err(unknown(file, key, "its value is text or a number")),
        }
    };
    match value {
        toml::Value::Array(values) => {
            values.iter().map(one).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
        }
        value => one(value),
    }
}

fn unknown(file: &str, key: &str, why: &str) -> Failure {
    Failure::input(
        format!("{file}: {key}: {why}"),
        "keys are flags' names without dashes, a command's own in a table of its name",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn lines(arguments: &[&str], text: &str) -> Result<Vec<String>, String> {
        add(arguments.iter().map(OsString::from).collect(), text, "f.toml")
            .map(|all| all.into_iter().map(|argument| argument.into_string().unwrap()).collect())
            .map_err(|failure| failure.message)
    }

    #[test]
    fn a_flag_on_the_command_line_wins_over_the_file() {
        let text = "state = '/s'\njson = true\n[measure]\nrate = 12.5\n[advise]\nbudget = ['1GB', '2GB']\n";
        assert_eq!(
            lines(&["pgassay", "measure", "dsn", "--state", "/mine"], text).unwrap(),
            ["pgassay", "measure", "dsn", "--state", "/mine", "--json", "--rate=12.5"]
        );
        assert_eq!(
            lines(&["pgassay", "advise", "dsn"], text).unwrap()[3..],
            ["--budget=1GB", "--budget=2GB", "--json", "--state=/s"].map(str::to_owned)
        );
    }

    #[test]
    fn what_no_flag_is_called_is_refused_by_name() {
        assert!(lines(&["pgassay"], "stat = 1").unwrap_err().contains("stat"));
        assert!(lines(&["pgassay"], "[measur]\nrate = 1").unwrap_err().contains("measur"));
        assert!(lines(&["pgassay"], "json = 'yes'").unwrap_err().contains("true or false"));
        assert!(lines(&["pgassay"], "state =").unwrap_err().contains("not TOML"));
    }
}
