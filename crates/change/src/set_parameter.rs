//! ALTER SYSTEM SET and a reload; undo leaves postgresql.auto.conf as it was, byte for byte.

mod never;
mod value;

pub(crate) use value::set_statement;

use crate::catalog::{self, Server, column};
use crate::error::ChangeError;
use crate::recovery::Standing;
use never::is_never_changed;
use pgassay_model::change::Undo;
use pgassay_sql::quote_identifier;
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use value::same_value;

/// How long a reload may take to reach this session.
const RELOAD_LIMIT: Duration = Duration::from_secs(15);

fn what(name: &str) -> String {
    format!("setting {name}")
}

/// One entry of postgresql.auto.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    setting: String,
    error: Option<String>,
}

/// The entries of postgresql.auto.conf, in the file's order.
async fn entries(client: &Client, server: &Server) -> Result<Vec<Entry>, ChangeError> {
    let rows = catalog::rows(
        client,
        "reading postgresql.auto.conf",
        "SELECT name, coalesce(setting, '') AS setting, error FROM pg_catalog.pg_file_settings
         WHERE sourcefile LIKE '%/postgresql.auto.conf' AND name IS NOT NULL ORDER BY seqno",
        &[],
    )
    .await
    .map_err(|error| readable(error, server))?;
    rows.iter()
        .map(|row| {
            Ok(Entry {
                name: column(row, "name")?,
                setting: column(row, "setting")?,
                error: column(row, "error")?,
            })
        })
        .collect()
}

/// Entries of postgresql.auto.conf as `name = value`, in the file's order.
pub(crate) async fn auto_conf(
    client: &Client,
    server: &Server,
) -> Result<Vec<(String, String)>, ChangeError> {
    let entries = entries(client, server).await?;
    Ok(entries.into_iter().map(|entry| (entry.name, entry.setting)).collect())
}

fn readable(error: ChangeError, server: &Server) -> ChangeError {
    if error.sqlstate() == Some("42501") {
        return ChangeError::MissingPrivilege {
            what: "reading pg_file_settings, without which a parameter could not be put back"
                .into(),
            grant: format!(
                "GRANT pg_read_all_settings TO {user}; GRANT SELECT ON pg_catalog.pg_file_settings TO {user}; \
                 GRANT EXECUTE ON FUNCTION pg_catalog.pg_show_all_file_settings() TO {user}",
                user = quote_identifier(&server.user)
            ),
        };
    }
    error
}

/// What pg_settings says of a parameter.
struct Setting {
    current: String,
    setting: String,
    context: String,
    source: String,
    from_auto_conf: bool,
    pending_restart: bool,
}

async fn look(client: &Client, name: &str) -> Result<Setting, ChangeError> {
    let row = catalog::row(
        client,
        &format!("reading {name}"),
        "SELECT pg_catalog.current_setting(name) AS current, coalesce(setting, '') AS setting, context, source,
                coalesce(sourcefile LIKE '%/postgresql.auto.conf', false) AS from_auto_conf, pending_restart
         FROM pg_catalog.pg_settings WHERE name = $1",
        &[&name],
    )
    .await?
    .ok_or_else(|| ChangeError::Refused {
        what: what(name),
        reason: "the server has no such parameter".into(),
        hint: "make a new plan for this server".into(),
    })?;
    Ok(Setting {
        current: column(&row, "current")?,
        setting: column(&row, "setting")?,
        context: column(&row, "context")?,
        source: column(&row, "source")?,
        from_auto_conf: column(&row, "from_auto_conf")?,
        pending_restart: column(&row, "pending_restart")?,
    })
}

pub(crate) async fn preflight(
    client: &Client,
    server: &Server,
    name: &str,
    from: &str,
    to: &str,
) -> Result<(), ChangeError> {
    let refused = |reason: String, hint: &str| ChangeError::Refused {
        what: what(name),
        reason,
        hint: hint.to_owned(),
    };
    let plain = name.to_ascii_lowercase();
    if is_never_changed(&plain) {
        return Err(refused(
            "pgassay never changes it by itself".into(),
            "change it by hand if you are sure",
        ));
    }
    // ALTER SYSTEM refuses these too, but only after the journal has an intent.
    if to.contains(['\n', '\r', '\0']) {
        return Err(refused("the value has a line break".into(), "make a new plan"));
    }
    let found = look(client, name).await?;
    if found.context == "internal" {
        return Err(refused("it can't be set".into(), "leave this change out"));
    }
    if found.current != from {
        return Err(ChangeError::Stale {
            what: format!("parameter {name}"),
            expected: from.to_owned(),
            found: found.current,
        });
    }
    if found.source == "command line" || found.source == "environment variable" {
        return Err(refused(
            format!("the server's {} sets it, which overrides postgresql.auto.conf", found.source),
            "take it out of the server's start command first",
        ));
    }
    if let Some(row) = catalog::row(
        client,
        "looking for settings of roles and databases",
        "SELECT pg_catalog.string_agg(CASE WHEN s.setrole = 0 THEN 'database ' || pg_catalog.quote_ident(d.datname)
                  ELSE 'role ' || pg_catalog.quote_ident(r.rolname) END, ', ') AS places
         FROM pg_catalog.pg_db_role_setting s
         LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
         LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
         WHERE (s.setdatabase = 0 OR d.datname = pg_catalog.current_database())
           AND EXISTS (SELECT 1 FROM pg_catalog.unnest(s.setconfig) AS c
                       WHERE pg_catalog.lower(pg_catalog.split_part(c, '=', 1)) = $1)
           AND (s.setrole = 0 OR r.rolname = current_user)",
        &[&plain],
    )
    .await?
        && let Some(places) = column::<Option<String>>(&row, "places")?
    {
        return Err(refused(
            format!("it is set for {places}, which overrides it here"),
            "change it there, with ALTER DATABASE or ALTER ROLE",
        ));
    }
    rights(client, server, name).await?;
    let entries = entries(client, server).await?;
    if let Some(place) = entries.iter().rposition(|entry| entry.name == name) {
        // Undo sets these again, each to its own value, so that the file's order is as it was.
        for entry in entries.get(place + 1..).unwrap_or_default() {
            rights(client, server, &entry.name).await?;
        }
    }
    if let Some(entry) = entries.iter().find(|entry| entry.name == name)
        && let Some(error) = &entry.error
        && found.context != "postmaster"
    {
        return Err(refused(
            format!("its entry in postgresql.auto.conf has an error: {error}"),
            "repair it with ALTER SYSTEM first",
        ));
    }
    // A file with an error keeps every reload from taking effect. A changed parameter that waits for a
    // restart is shown as an error too, and is none.
    if let Some(row) = catalog::row(
        client,
        "checking the configuration files",
        "SELECT f.sourcefile, f.sourceline, f.error FROM pg_catalog.pg_file_settings f
         LEFT JOIN pg_catalog.pg_settings s ON s.name = f.name
         WHERE f.error IS NOT NULL AND s.context IS DISTINCT FROM 'postmaster' ORDER BY f.seqno LIMIT 1",
        &[],
    )
    .await?
    {
        return Err(refused(
            format!(
                "{} has an error in line {}: {}",
                column::<Option<String>>(&row, "sourcefile")?.unwrap_or_default(),
                column::<Option<i32>>(&row, "sourceline")?.unwrap_or_default(),
                column::<Option<String>>(&row, "error")?.unwrap_or_default()
            ),
            "repair the configuration first; no reload takes effect before",
        ));
    }
    Ok(())
}

async fn rights(client: &Client, server: &Server, name: &str) -> Result<(), ChangeError> {
    if server.superuser {
        return Ok(());
    }
    let user = quote_identifier(&server.user);
    // Privileges on parameters exist from 15 on.
    let may_alter = server.version_num >= 150_000
        && catalog::row(
            client,
            "checking rights",
            "SELECT pg_catalog.has_parameter_privilege($1, 'ALTER SYSTEM') AS may",
            &[&name],
        )
        .await?
        .map_or(Ok(false), |row| column(&row, "may"))?;
    if !may_alter {
        return Err(ChangeError::MissingPrivilege {
            what: format!("ALTER SYSTEM SET {name}"),
            grant: if server.version_num >= 150_000 {
                format!("GRANT ALTER SYSTEM ON PARAMETER {} TO {user}", quote_identifier(name))
            } else {
                format!("ALTER ROLE {user} SUPERUSER -- or connect as a superuser")
            },
        });
    }
    let may_reload = catalog::row(
        client,
        "checking rights",
        "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_reload_conf()', 'EXECUTE') AS may",
        &[],
    )
    .await?
    .map_or(Ok(false), |row| column(&row, "may"))?;
    if !may_reload {
        return Err(ChangeError::MissingPrivilege {
            what: "reloading the configuration".into(),
            grant: format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO {user}"),
        });
    }
    Ok(())
}

/// The entry as it is, and those that follow it.
pub(crate) async fn observe(
    client: &Client,
    server: &Server,
    name: &str,
) -> Result<Undo, ChangeError> {
    let entries = entries(client, server).await?;
    let place = entries.iter().rposition(|entry| entry.name == name);
    Ok(Undo::RestoreParameter {
        name: name.to_owned(),
        entry: place.and_then(|place| entries.get(place)).map(|entry| entry.setting.clone()),
        following: place
            .and_then(|place| entries.get(place + 1..))
            .unwrap_or_default()
            .iter()
            .map(|entry| (entry.name.clone(), entry.setting.clone()))
            .collect(),
        effective: look(client, name).await?.current,
    })
}

/// Sets the parameter and reloads. Returns notes; the change waits for a restart where one says so.
pub(crate) async fn apply(client: &Client, name: &str, to: &str) -> Result<(), ChangeError> {
    set(client, name, to).await?;
    reload(client, name).await
}

/// Whether the value is in force; `true` where it waits for a restart.
pub(crate) async fn verify(
    client: &Client,
    server: &Server,
    name: &str,
    to: &str,
) -> Result<(bool, String), ChangeError> {
    let wrong = |found: String| ChangeError::Verification { what: what(name), found };
    let entry = entries(client, server).await?.into_iter().rfind(|entry| entry.name == name);
    match entry {
        None => return Err(wrong("postgresql.auto.conf has no entry for it".into())),
        Some(entry) if !same_value(name, &entry.setting, to) => {
            return Err(wrong(format!("postgresql.auto.conf has {}", entry.setting)));
        }
        Some(_) => {}
    }
    let found = look(client, name).await?;
    if found.pending_restart {
        return Ok((true, found.current));
    }
    // Our own session may have the parameter set for itself; the file's value counts then only for others.
    if !found.from_auto_conf && found.context != "postmaster" {
        return Err(wrong(format!("{} is in force, by {}", found.current, found.source)));
    }
    tracing::debug!(parameter = name, setting = %found.setting, "in force");
    Ok((false, found.current))
}

/// What to know of a value that waits for a restart.
pub(crate) fn pending_note(name: &str, now: &str) -> String {
    format!("{name} stays {now} until the server is restarted")
}

/// Puts the entry back as it was, and those that followed it in their order.
///
/// Entries that followed and were changed since keep their present values: only their order is restored.
pub(crate) async fn undo(
    client: &Client,
    server: &Server,
    name: &str,
    entry: Option<&str>,
    following: &[(String, String)],
    effective: &str,
) -> Result<Vec<String>, ChangeError> {
    let now = entries(client, server).await?;
    let present = now.iter().rfind(|found| found.name == name);
    match (entry, present) {
        (None, None) => {}
        (None, Some(_)) => {
            let sql = format!("ALTER SYSTEM RESET {}", quote_identifier(name));
            catalog::execute(client, &format!("resetting {name}"), &sql).await?;
        }
        (Some(entry), _) => {
            let order: Vec<&Entry> = following
                .iter()
                .filter_map(|(name, _)| now.iter().rfind(|found| found.name == *name))
                .collect();
            let tail: Vec<&str> =
                now.iter().rev().take(order.len()).map(|found| found.name.as_str()).collect();
            let in_place = present.is_some_and(|found| found.setting == entry)
                && order.iter().rev().map(|found| found.name.as_str()).eq(tail);
            if !in_place {
                set(client, name, entry).await?;
                for found in order {
                    set(client, &found.name, &found.setting).await?;
                }
            }
        }
    }
    reload(client, name).await?;
    let entries = entries(client, server).await?;
    let restored = entries.iter().rfind(|found| found.name == name);
    if restored.map(|found| found.setting.as_str()) != entry {
        return Err(ChangeError::Verification {
            what: format!("restoring {name}"),
            found: restored.map_or_else(|| "no entry".to_owned(), |found| found.setting.clone()),
        });
    }
    let found = look(client, name).await?;
    if found.pending_restart {
        return Ok(vec![pending_note(name, &found.current)]);
    }
    if found.current != effective {
        return Err(ChangeError::Verification {
            what: format!("restoring {name} to {effective}"),
            found: format!("{} by {}", found.current, found.source),
        });
    }
    Ok(Vec::new())
}

pub(crate) async fn standing(
    client: &Client,
    server: &Server,
    name: &str,
    to: &str,
    entry: Option<&str>,
) -> Result<Standing, ChangeError> {
    let entries = entries(client, server).await?;
    let present =
        entries.iter().rfind(|found| found.name == name).map(|found| found.setting.as_str());
    Ok(match present {
        present if present == entry => Standing::Before,
        Some(present) if same_value(name, present, to) => Standing::After,
        present => Standing::Unknown {
            found: format!(
                "postgresql.auto.conf has {} for {name}, neither what it was before nor what the change set",
                present.unwrap_or("no entry")
            ),
            remedy: vec![match entry {
                Some(entry) => set_statement(name, entry),
                None => format!("ALTER SYSTEM RESET {}", quote_identifier(name)),
            }],
        },
    })
}

async fn set(client: &Client, name: &str, value: &str) -> Result<(), ChangeError> {
    catalog::execute(client, &what(name), &set_statement(name, value)).await
}

/// Reloads the configuration and waits until this session has taken it in; the postmaster, from which every
/// new session starts, is then ahead of it.
pub(crate) async fn reload(client: &Client, name: &str) -> Result<(), ChangeError> {
    let doing = "reloading the configuration";
    let sql = "SELECT pg_catalog.pg_conf_load_time()::pg_catalog.text AS at";
    let at = async || -> Result<String, ChangeError> {
        match catalog::row(client, doing, sql, &[]).await? {
            Some(row) => column(&row, "at"),
            None => Ok(String::new()),
        }
    };
    let before = at().await?;
    catalog::row(client, doing, "SELECT pg_catalog.pg_reload_conf()", &[]).await?;
    let started = Instant::now();
    while at().await? == before {
        if started.elapsed() > RELOAD_LIMIT {
            return Err(ChangeError::Verification {
                what: format!("reloading the configuration for {name}"),
                found: format!(
                    "the server has not taken it in for {} s; its log says why",
                    RELOAD_LIMIT.as_secs()
                ),
            });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
