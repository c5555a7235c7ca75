//! Whether a running PgBouncer took what a rehearsal of its configuration showed.

use crate::{Console, PgBouncerError};
use pgassay_model::change::PoolerSettingChange;
use pgassay_model::pooler::PoolerSetting;
use std::collections::BTreeMap;
use std::fmt;

/// A key that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// As the rehearsal showed it.
    pub expected: String,
    /// As it is; None: PgBouncer does not show the key.
    pub found: Option<String>,
    /// Whether only a restart of PgBouncer brings it into force.
    pub restart_only: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found.as_deref().unwrap_or("nothing");
        write!(f, "{} is {found}, expected {}", self.key, self.expected)?;
        if self.restart_only {
            f.write_str(" (in force only after a restart of PgBouncer)")?;
        }
        Ok(())
    }
}

/// Compares SHOW CONFIG with a rehearsal: every key that RELOAD can change, and every key of `changed`.
pub fn differences(
    rehearsed: &BTreeMap<String, PoolerSetting>,
    found: &BTreeMap<String, PoolerSetting>,
    changed: &[PoolerSettingChange],
) -> Vec<Difference> {
    let asked = |key: &str| changed.iter().any(|setting| setting.key == key);
    rehearsed
        .iter()
        .filter(|(key, setting)| setting.changeable || asked(key))
        .filter(|(key, setting)| found.get(*key).is_none_or(|actual| actual.value != setting.value))
        .map(|(key, setting)| Difference {
            key: key.clone(),
            expected: setting.value.clone(),
            found: found.get(key).map(|actual| actual.value.clone()),
            restart_only: !setting.changeable,
        })
        .collect()
}

/// Reads SHOW CONFIG back after a RELOAD; empty: everything is as rehearsed.
pub async fn read_back(
    console: &Console,
    rehearsed: &BTreeMap<String, PoolerSetting>,
    changed: &[PoolerSettingChange],
) -> Result<Vec<Difference>, PgBouncerError> {
    Ok(differences(rehearsed, &console.show_config().await?, changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_only_key_counts_only_when_it_was_changed() {
        let setting = |value: &str, changeable| PoolerSetting {
            value: value.into(),
            default: None,
            changeable,
        };
        let rehearsed = BTreeMap::from([
            ("a".to_string(), setting("1", true)),
            ("backlog".to_string(), setting("2", false)),
            ("gone".to_string(), setting("3", true)),
        ]);
        let found = BTreeMap::from([
            ("a".to_string(), setting("1", true)),
            ("backlog".to_string(), setting("9", false)),
        ]);
        let keys = |changed: &[PoolerSettingChange]| -> Vec<String> {
            differences(&rehearsed, &found, changed)
                .into_iter()
                .map(|difference| difference.key)
                .collect()
        };
        assert_eq!(keys(&[]), ["gone"]);
        let change =
            PoolerSettingChange { key: "backlog".into(), from: "9".into(), to: "2".into() };
        assert_eq!(keys(&[change]), ["backlog", "gone"]);
    }
}
