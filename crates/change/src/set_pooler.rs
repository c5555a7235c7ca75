//! PgBouncer's settings and log-in secrets through its files: rehearsed, replaced at once, reloaded, read back.

use crate::catalog::{self, Server, column};
use crate::error::ChangeError;
use crate::log_in::{try_log_in, working_log_in};
use crate::options::{ExecutorOptions, PoolerAccess};
use crate::pooler_file::{self, read, replaceable, same_file, sha256};

pub(crate) use crate::pooler_file::standing;

use pgassay_model::change::{PoolerEdit, PoolerSettingChange, Undo};
use pgassay_model::connection::{ConnectionSettings, Secret};
use pgassay_model::pooler::{PoolerSetting, PoolerSnapshot, SecretKind};
use pgassay_pgbouncer::{
    Candidate, Console, FileEdit, PgBouncerError, Userlist, differences, edits, files, read_back,
    rehearse, snapshot, working_directory,
};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use tokio_postgres::Client;

type Config = BTreeMap<String, PoolerSetting>;

/// A file before and after an edit, with what a rehearsal made of it.
#[derive(Debug)]
pub(crate) struct EditedFile {
    edit: FileEdit,
    /// SHOW CONFIG of a throw-away PgBouncer on the new files.
    rehearsed: Config,
    /// A log-in through PgBouncer that works now, for every user whose secret is replaced.
    log_ins: Vec<ConnectionSettings>,
    /// SHA-256 of the new content, hexadecimal.
    pub sha256: String,
}

/// How to reach PgBouncer, or what to pass so that it can be.
pub(crate) fn access<'a>(
    options: &'a ExecutorOptions<'_>,
) -> Result<&'a PoolerAccess, ChangeError> {
    options.pooler.as_ref().ok_or_else(|| ChangeError::Refused {
        what: "a change of PgBouncer".into(),
        reason: "its console and its configuration file are not known".into(),
        hint: "pass --pgbouncer ADMIN_DSN and --pgbouncer-ini FILE".into(),
    })
}

/// Checks that the edit can be made, put in force and taken back, and computes and rehearses the new file.
/// Touches nothing.
pub(crate) async fn edited(
    client: &Client,
    server: &Server,
    access: &PoolerAccess,
    edit: &PoolerEdit,
) -> Result<EditedFile, ChangeError> {
    let refused =
        |reason: String| ChangeError::Refused { what: what(edit), reason, hint: by_hand(edit) };
    let console = connect(access).await?;
    let running = snapshot(&console, Some(&access.ini)).await?;
    if let Some(problem) = &running.ini_problem {
        return Err(refused(problem.clone()));
    }
    let file = edited_file(edit, &running)?;
    if !same_file(ini_of(edit), &access.ini) {
        return Err(refused(format!(
            "the plan is for {} and PgBouncer runs on {}",
            ini_of(edit).display(),
            access.ini.display()
        )));
    }
    replaceable(file).map_err(refused)?;

    let mut log_ins = Vec::new();
    let mut secrets = BTreeMap::new();
    match edit {
        PoolerEdit::Ini { settings, .. } => current(&running, settings)?,
        PoolerEdit::Userlist { userlist, users, .. } => {
            secrets = server_secrets(client, server, users).await?;
            let list = Userlist::read(userlist).map_err(unreadable)?;
            for user in users {
                let Some(password) = list.plain_text(user) else {
                    return Err(ChangeError::Stale {
                        what: format!("the secret of {user} in {}", userlist.display()),
                        expected: "plain text".into(),
                        found: match list.secrets().get(user) {
                            None => "no such user".into(),
                            Some(SecretKind::Scram) => "a SCRAM secret".into(),
                            Some(_) => "another kind of secret".into(),
                        },
                    });
                };
                log_ins.push(working_log_in(access, &running, user, password).await.map_err(
                    |reason| {
                        refused(format!(
                            "that {user} can log in afterwards can't be proved, since no log-in works now ({reason})"
                        ))
                    },
                )?);
            }
        }
    }

    let directory = working_directory(running.pid);
    let edit_of_file = edits(edit, &secrets, &directory).map_err(unreadable)?;
    if edit_of_file.before == edit_of_file.after {
        return Err(refused("the file has it already".into()));
    }
    // A RELOAD brings into force all that the file says and discards every SET, and taking the change back
    // can't bring that back.
    let before = rehearse(&candidate(access, edit, &edit_of_file.before, &running)?)
        .await
        .map_err(|error| rehearsal(edit, error))?;
    let drifted = differences(&before, &running.config, &[]);
    if !drifted.is_empty() {
        return Err(ChangeError::Refused {
            what: what(edit),
            reason: format!(
                "PgBouncer runs with other values than its file has: {}",
                list(&drifted)
            ),
            hint: "write them into the file, or RELOAD in PgBouncer's console, and make a new plan"
                .into(),
        });
    }
    let rehearsed = rehearse(&candidate(access, edit, &edit_of_file.after, &running)?)
        .await
        .map_err(|error| rehearsal(edit, error))?;
    if let PoolerEdit::Ini { settings, .. } = edit
        && let Some(hidden) = settings.iter().find(|change| !rehearsed.contains_key(&change.key))
    {
        return Err(refused(format!(
            "{} is one of the keys that a rehearsal has to set itself, so it can't be tried",
            hidden.key
        )));
    }
    let sha256 = sha256(&edit_of_file.after);
    Ok(EditedFile { edit: edit_of_file, rehearsed, log_ins, sha256 })
}

/// Copies the file as it is to `directory`; an older backup of a failed attempt stays.
pub(crate) fn back_up(
    file: &EditedFile,
    directory: &Path,
    change: &str,
) -> Result<Undo, ChangeError> {
    let secret = !file.log_ins.is_empty();
    pooler_file::back_up(&file.edit.path, &file.edit.before, directory, change, secret)
}

/// Replaces the file, reloads and reads every key back. `true`: something waits for a restart of PgBouncer.
pub(crate) async fn apply(
    access: &PoolerAccess,
    edit: &PoolerEdit,
    file: &EditedFile,
) -> Result<(bool, Vec<String>), ChangeError> {
    files::replace(&file.edit.path, &file.edit.before, &file.edit.after)?;
    let notes = in_force(access, edit, &file.rehearsed).await?;
    for log_in in &file.log_ins {
        if let Err(error) = try_log_in(log_in).await {
            return Err(ChangeError::Verification {
                what: format!("the log-in of {} to {}", log_in.user, log_in.database),
                found: format!("it worked before and fails now: {error}"),
            });
        }
    }
    Ok((!notes.is_empty(), notes))
}

/// Reloads and reads back after the file was replaced already. Returns notes.
pub(crate) async fn complete(
    access: &PoolerAccess,
    edit: &PoolerEdit,
) -> Result<Vec<String>, ChangeError> {
    let console = connect(access).await?;
    let running = snapshot(&console, None).await?;
    let content = read(ini_of(edit))?;
    let rehearsed = rehearse(&Candidate {
        binary: access.binary.clone(),
        ini: ini_of(edit).to_path_buf(),
        content,
        userlist: None,
        pid: running.pid,
    })
    .await?;
    let mut notes = in_force(access, edit, &rehearsed).await?;
    if matches!(edit, PoolerEdit::Userlist { .. }) {
        notes.push("no log-in with the new secrets was tried".to_owned());
    }
    Ok(notes)
}

async fn in_force(
    access: &PoolerAccess,
    edit: &PoolerEdit,
    rehearsed: &Config,
) -> Result<Vec<String>, ChangeError> {
    let console = connect(access).await?;
    console.reload().await?;
    let asked: &[PoolerSettingChange] = match edit {
        PoolerEdit::Ini { settings, .. } => settings,
        PoolerEdit::Userlist { .. } => &[],
    };
    let (waiting, wrong): (Vec<_>, Vec<_>) = read_back(&console, rehearsed, asked)
        .await?
        .into_iter()
        .partition(|difference| difference.restart_only);
    if !wrong.is_empty() {
        return Err(ChangeError::Verification { what: what(edit), found: list(&wrong) });
    }
    Ok(waiting.iter().map(ToString::to_string).collect())
}

/// Puts the file back as its backup has it, reloads and reads back.
pub(crate) async fn undo(
    access: &PoolerAccess,
    path: &Path,
    backup: &Path,
    sha256_of_backup: &str,
) -> Result<Vec<String>, ChangeError> {
    let content = read(backup)?;
    if sha256(&content) != sha256_of_backup {
        return Err(ChangeError::Verification {
            what: format!("the backup {}", backup.display()),
            found: "it is not what was backed up; nothing was written".into(),
        });
    }
    // A process that was killed may have left one where nothing has to be replaced, too.
    files::remove_left_over(path);
    let now = read(path)?;
    if now != content {
        files::replace(path, &now, &content)?;
    }
    reload_restored(access).await.map_err(|error| ChangeError::Verification {
        what: format!("putting {} in force", path.display()),
        found: format!(
            "the file is as it was before the change, but {error}; start PgBouncer, or RELOAD in its console"
        ),
    })
}

/// Returns the keys that a restart of PgBouncer since the change has brought into force, and only another
/// one takes back.
async fn reload_restored(access: &PoolerAccess) -> Result<Vec<String>, ChangeError> {
    let console = connect(access).await?;
    console.reload().await?;
    let running = snapshot(&console, None).await?;
    let rehearsed = rehearse(&Candidate {
        binary: access.binary.clone(),
        ini: access.ini.clone(),
        content: read(&access.ini)?,
        userlist: None,
        pid: running.pid,
    })
    .await?;
    let found = console.show_config().await?;
    let wrong = differences(&rehearsed, &found, &[]);
    if !wrong.is_empty() {
        return Err(ChangeError::Verification {
            what: "PgBouncer's settings".into(),
            found: list(&wrong),
        });
    }
    let waiting =
        rehearsed.iter().filter(|(_, setting)| !setting.changeable).filter_map(|(key, setting)| {
            let now = &found.get(key)?.value;
            (*now != setting.value)
                .then(|| format!("{key} stays {now} until PgBouncer is restarted"))
        });
    Ok(waiting.collect())
}

async fn connect(access: &PoolerAccess) -> Result<Console, ChangeError> {
    Console::connect(&access.console).await.map_err(|error| match error {
        PgBouncerError::Unreachable { .. }
        | PgBouncerError::LoginRefused { .. }
        | PgBouncerError::TlsFailed { .. } => ChangeError::Connect(error.to_string()),
        error => error.into(),
    })
}

fn what(edit: &PoolerEdit) -> String {
    match edit {
        PoolerEdit::Ini { settings, .. } => {
            let keys: Vec<&str> = settings.iter().map(|change| change.key.as_str()).collect();
            format!("setting {} of PgBouncer", keys.join(", "))
        }
        PoolerEdit::Userlist { users, .. } => {
            format!("replacing the secrets of {} in PgBouncer's userlist", users.join(", "))
        }
    }
}

/// What a person does where the file can't be edited here.
fn by_hand(edit: &PoolerEdit) -> String {
    match edit {
        PoolerEdit::Ini { ini, settings } => {
            let mut hint = format!("set by hand in [pgbouncer] of {}:", ini.display());
            for change in settings {
                // Writing to a String does not fail.
                let _ = write!(hint, " {} = {};", change.key, change.to);
            }
            hint.push_str(" then RELOAD in PgBouncer's console");
            hint
        }
        PoolerEdit::Userlist { userlist, users, .. } => format!(
            "replace by hand in {} the secrets of {} by pg_authid.rolpassword, then RELOAD in PgBouncer's console",
            userlist.display(),
            users.join(", ")
        ),
    }
}

fn ini_of(edit: &PoolerEdit) -> &Path {
    match edit {
        PoolerEdit::Ini { ini, .. } | PoolerEdit::Userlist { ini, .. } => ini,
    }
}

/// The file that the edit is of; a userlist has to be the one in use.
fn edited_file<'a>(
    edit: &'a PoolerEdit,
    running: &PoolerSnapshot,
) -> Result<&'a Path, ChangeError> {
    match edit {
        PoolerEdit::Ini { ini, .. } => Ok(ini),
        PoolerEdit::Userlist { userlist, .. } => {
            let used = running.text("auth_file").unwrap_or_default();
            if same_file(&working_directory(running.pid).join(used), userlist) {
                return Ok(userlist);
            }
            Err(ChangeError::Stale {
                what: "PgBouncer's auth_file".into(),
                expected: userlist.display().to_string(),
                found: used.to_owned(),
            })
        }
    }
}

/// Whether the values in force are those that the plan was made from.
fn current(running: &PoolerSnapshot, settings: &[PoolerSettingChange]) -> Result<(), ChangeError> {
    for change in settings {
        let found = running.text(&change.key);
        if found != Some(change.from.as_str()) {
            return Err(ChangeError::Stale {
                what: format!("{} of PgBouncer", change.key),
                expected: change.from.clone(),
                found: found.unwrap_or("no such key").to_owned(),
            });
        }
    }
    Ok(())
}

/// `pg_authid.rolpassword` of the users that have one.
async fn server_secrets(
    client: &Client,
    server: &Server,
    users: &[String],
) -> Result<BTreeMap<String, Secret>, ChangeError> {
    let rows = catalog::rows(
        client,
        "reading the server's SCRAM secrets",
        "SELECT rolname::pg_catalog.text AS name, rolpassword AS secret FROM pg_catalog.pg_authid
         WHERE rolname = ANY ($1) AND rolpassword IS NOT NULL",
        &[&users],
    )
    .await
    .map_err(|error| match error.sqlstate() {
        Some("42501") => ChangeError::MissingPrivilege {
            what: "reading the SCRAM secrets that the server holds (pg_authid)".into(),
            grant: format!(
                "GRANT SELECT ON pg_catalog.pg_authid TO {} -- or connect as a superuser",
                pgassay_sql::quote_identifier(&server.user)
            ),
        },
        _ => error,
    })?;
    rows.iter()
        .map(|row| Ok((column(row, "name")?, Secret::new(column::<String>(row, "secret")?))))
        .collect()
}

fn candidate(
    access: &PoolerAccess,
    edit: &PoolerEdit,
    content: &[u8],
    running: &PoolerSnapshot,
) -> Result<Candidate, ChangeError> {
    let (content, userlist) = match edit {
        PoolerEdit::Ini { .. } => (content.to_vec(), None),
        PoolerEdit::Userlist { userlist, .. } => {
            (read(&access.ini)?, Some(Userlist::parse(content, userlist)?))
        }
    };
    Ok(Candidate {
        binary: access.binary.clone(),
        ini: access.ini.clone(),
        content,
        userlist,
        pid: running.pid,
    })
}

/// A throw-away PgBouncer that refuses the files speaks against the change; one that can't be started does not.
fn rehearsal(edit: &PoolerEdit, error: PgBouncerError) -> ChangeError {
    match error {
        PgBouncerError::RehearsalFailed(reason) => ChangeError::Refused {
            what: what(edit),
            reason: format!("a throw-away PgBouncer does not take the files: {reason}"),
            hint: "leave this change out, or repair the file it names".into(),
        },
        error => error.into(),
    }
}

fn unreadable(error: PgBouncerError) -> ChangeError {
    match &error {
        PgBouncerError::File { path, source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            ChangeError::MissingPrivilege {
                what: error.to_string(),
                grant: format!("pgassay as root or as the owner of {}", path.display()),
            }
        }
        PgBouncerError::NotEditable { what, reason, .. } => ChangeError::Refused {
            what: what.clone(),
            reason: reason.clone(),
            hint: "leave this change out".into(),
        },
        _ => error.into(),
    }
}

fn list(differences: &[pgassay_pgbouncer::Difference]) -> String {
    let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
