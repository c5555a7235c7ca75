//! Reads and writes the documents that commands pass to each other: JSON with the name of its schema.

use crate::failure::Failure;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// A document as pretty JSON.
pub fn to_json<T: Serialize>(document: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(document).map_err(|error| {
        Failure::input(format!("cannot write the document: {error}"), "report this")
    })
}

/// A document of one kind; another kind, or another version of it, is refused before it is read as this one.
pub fn read_json<T: DeserializeOwned>(path: impl AsRef<Path>, schema: &str) -> Result<T, Failure> {
    #[derive(serde::Deserialize)]
    struct Head {
        schema: Option<String>,
    }
    let path = path.as_ref();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::input(format!("cannot read {}: {error}", path.display()), "check the path")
    })?;
    let refused = |why: String| {
        Failure::input(
            format!("{} is not a document {schema}: {why}", path.display()),
            "pass a file that pgassay wrote",
        )
    };
    let head: Head = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    match head.schema {
        Some(found) if found == schema => {}
        Some(found) => return Err(refused(format!("it is {found}"))),
        None => return Err(refused("it names no schema".into())),
    }
    serde_json::from_str(&text).map_err(|error| refused(error.to_string()))
}

/// Refuses a file that can't be written, before the work whose result it is to hold.
pub fn can_be_written(path: &Path) -> Result<(), Failure> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // A device or a pipe is written in place, in whatever folder it is.
    let place = if path.exists() { path } else { folder };
    let problem = if path.is_dir() {
        "it is a directory".to_owned()
    } else if let Err(error) = nix::unistd::access(place, nix::unistd::AccessFlags::W_OK) {
        error.desc().to_owned()
    } else {
        return Ok(());
    };
    Err(Failure::input(
        format!("cannot write {}: {problem}", path.display()),
        "choose another file",
    ))
}

/// A text in a file of its own.
pub fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        Failure::input(format!("cannot write {}: {error}", path.display()), "choose another file")
    })
}
