//! The service file and the password file.

use super::{DsnError, Environment, Given, enter};
use pgassay_model::connection::{Host, Secret};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A service's keys (manual, section 34.17): the user's file goes before the system's.
pub(super) fn service(
    service: &str,
    given: Option<PathBuf>,
    environment: &Environment,
) -> Result<Given, DsnError> {
    let user = given
        .or_else(|| environment.variable("PGSERVICEFILE").map(PathBuf::from))
        .or_else(|| Some(environment.home.as_ref()?.join(".pg_service.conf")));
    let system = environment
        .variable("PGSYSCONFDIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from("/etc/postgresql-common"))
        .join("pg_service.conf");
    let files: Vec<PathBuf> = user.into_iter().chain([system]).collect();
    for file in files.iter().filter(|file| file.exists()) {
        let text = std::fs::read_to_string(file)
            .map_err(|error| DsnError::File { path: file.clone(), message: error.to_string() })?;
        if let Some(found) = section(&text, service)? {
            return Ok(found);
        }
    }
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Err(DsnError::UnknownService { service: service.to_owned(), files: names.join(", ") })
}

fn section(text: &str, service: &str) -> Result<Option<Given>, DsnError> {
    let header = format!("[{service}]");
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .skip_while(|line| *line != header);
    if lines.next().is_none() {
        return Ok(None);
    }
    let mut given = Given::new();
    for line in lines.take_while(|line| !line.starts_with('[')) {
        let (key, value) = line
            .split_once('=')
            .ok_or(DsnError::Malformed("a line of the service file has no \"=\""))?;
        enter(&mut given, key.trim(), value.trim().to_owned(), true)?;
    }
    Ok(Some(given))
}

/// The first password of the password file that fits (manual, section 34.16). Like libpq, a file that
/// others may read is left alone, with a warning.
pub(super) fn password(
    given: Option<PathBuf>,
    host: &Host,
    port: u16,
    database: &str,
    user: &str,
    environment: &Environment,
) -> Option<Secret> {
    let file = given.or_else(|| Some(environment.home.as_ref()?.join(".pgpass")))?;
    if !safe(&file) {
        return None;
    }
    let text = std::fs::read_to_string(&file)
        .inspect_err(|error| tracing::warn!(file = %file.display(), %error, "password file"))
        .ok()?;
    let host = match host {
        Host::Tcp(host) => host.clone(),
        Host::Unix(directory) if environment.is_default_socket(directory) => "localhost".into(),
        Host::Unix(directory) => directory.to_string_lossy().into_owned(),
    };
    let port = port.to_string();
    let wanted = [host.as_str(), port.as_str(), database, user];
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let (password, places) = fields.split_last()?;
        let fits = places.len() == wanted.len()
            && places.iter().zip(wanted).all(|(place, wanted)| match place {
                Field { text, escaped: false } if text == "*" => true,
                place => place.text == wanted,
            });
        (fits && !password.text.is_empty()).then(|| Secret::new(password.text.clone()))
    })
}

fn safe(file: &Path) -> bool {
    let Ok(metadata) = std::fs::metadata(file) else { return false };
    if !metadata.is_file() {
        tracing::warn!(file = %file.display(), "the password file is not a plain file; it is left alone");
        return false;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(
            file = %file.display(),
            "the password file can be read by others; it is left alone until chmod 0600"
        );
        return false;
    }
    true
}

struct Field {
    text: String,
    escaped: bool,
}

/// Splits at colons; a backslash takes the next character as it is. The fifth field is the password, and
/// what follows a further colon is not part of it.
fn fields(line: &str) -> Vec<Field> {
    let mut fields = vec![Field { text: String::new(), escaped: false }];
    let mut characters = line.trim_end_matches('\r').chars();
    while let Some(character) = characters.next() {
        if character == ':' {
            if fields.len() == 5 {
                break;
            }
            fields.push(Field { text: String::new(), escaped: false });
            continue;
        }
        let Some(field) = fields.last_mut() else { break };
        if character == '\\' {
            field.escaped = true;
            field.text.extend(characters.next());
        } else {
            field.text.push(character);
        }
    }
    fields
}
