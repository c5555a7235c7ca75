//! A PostgreSQL parameter (GUC) as `pg_settings` shows it.

use crate::units::Bytes;
use serde::{Deserialize, Serialize};

/// One row of `pg_settings`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Parameter {
    /// `pg_settings.name`.
    pub name: String,
    /// `pg_settings.setting`: the value in `unit`, no suffix.
    pub setting: String,
    /// `pg_settings.unit` (`8kB`, `kB`, `ms` …); None where the parameter has none.
    pub unit: Option<String>,
    /// `pg_settings.context`: `postmaster`, `sighup`, `superuser`, `user`, `internal`, `backend` …
    pub context: String,
    /// `pg_settings.vartype`: `bool`, `enum`, `integer`, `real`, `string`.
    pub vartype: String,
    /// `pg_settings.source`: `default`, `configuration file`, `command line` …
    pub source: String,
    /// `pg_settings.sourcefile`; None without the right to see it, or where no file sets it.
    pub sourcefile: Option<String>,
    /// `pg_settings.boot_val`.
    pub boot_val: Option<String>,
    /// `pg_settings.reset_val`.
    pub reset_val: Option<String>,
    /// `pg_settings.min_val`.
    pub min_val: Option<String>,
    /// `pg_settings.max_val`.
    pub max_val: Option<String>,
    /// `pg_settings.enumvals`.
    pub enumvals: Option<Vec<String>>,
    /// `pg_settings.pending_restart`.
    pub pending_restart: bool,
    /// `current_setting(name)`: with its unit, as a person writes it.
    pub current: String,
}

impl Parameter {
    /// The value as a number in the parameter's own unit.
    pub fn number(&self) -> Option<f64> {
        self.setting.parse().ok()
    }

    /// The value in bytes, for parameters whose unit is a size.
    pub fn bytes(&self) -> Option<Bytes> {
        let unit: Bytes = self.unit.as_deref()?.parse().ok().or_else(|| unit_of("1", self))?;
        let number = self.number()?;
        (number >= 0.0).then_some(Bytes((number * unit.0 as f64) as u64))
    }

    /// Whether a change takes a restart of the server.
    pub fn needs_restart(&self) -> bool {
        self.context == "postmaster"
    }

    /// Whether a session may set it for itself.
    pub fn session_settable(&self) -> bool {
        matches!(self.context.as_str(), "user" | "superuser")
    }
}

fn unit_of(number: &str, parameter: &Parameter) -> Option<Bytes> {
    format!("{number}{}", parameter.unit.as_deref()?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_the_units_of_pg_settings() {
        let parameter = |setting: &str, unit: &str| Parameter {
            setting: setting.into(),
            unit: Some(unit.into()),
            ..Parameter::default()
        };
        assert_eq!(parameter("16384", "8kB").bytes(), Some(Bytes(128 << 20)));
        assert_eq!(parameter("4096", "kB").bytes(), Some(Bytes(4 << 20)));
        assert_eq!(parameter("1024", "MB").bytes(), Some(Bytes(1 << 30)));
        assert_eq!(parameter("300", "s").bytes(), None);
        assert_eq!(parameter("-1", "8kB").bytes(), None);
    }
}
