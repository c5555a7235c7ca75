//! Workload files: reads what a path holds, writes a workload document.

use crate::{WorkloadError, directory, pgbench, scripts};
use pgassay_model::workload::{SCHEMA, Workload};
use std::fs::{self, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Longer statements are left out, of directories and of logs: parsing one of 50 MB takes minutes.
pub(crate) const MOST_STATEMENT: usize = 1 << 20;

/// Reads a workload: a document written by `capture`, a directory of `.sql` files, or pgbench scripts: one
/// file or several with commas between, each with `@` and its weight where that is not 1.
///
/// Statements of a directory that can't be used are listed in `skipped`; a file that can't be read, a script
/// that pgbench would refuse, and a line that is no weight or no values are errors.
pub fn read(path: impl AsRef<Path>) -> Result<Workload, WorkloadError> {
    let path = path.as_ref();
    let metadata = fs::metadata(path);
    if metadata.is_err()
        && let Some(text) = path.to_str()
        && (text.contains(',') || text.contains('@'))
    {
        let files = text.split(',').map(weighted).collect::<Result<Vec<_>, _>>()?;
        return scripts::read(&files);
    }
    if metadata.map_err(WorkloadError::file("reading", path))?.is_dir() {
        return directory::read(path);
    }
    let text = read_text(path)?;
    if text.trim_start().starts_with('{') {
        return document(path, &text);
    }
    scripts::read(&[(path.to_path_buf(), 1.0)])
}

/// `file@weight`; a file of that very name comes first.
fn weighted(text: &str) -> Result<(PathBuf, f64), WorkloadError> {
    let whole = PathBuf::from(text);
    match text.rsplit_once('@') {
        Some((file, weight)) if !whole.exists() => match weight.parse::<f64>() {
            Ok(weight) if weight.is_finite() && weight > 0.0 => Ok((PathBuf::from(file), weight)),
            _ => Err(WorkloadError::Weight {
                path: PathBuf::from(file),
                place: "after @".into(),
                text: weight.to_owned(),
            }),
        },
        _ => Ok((whole, 1.0)),
    }
}

fn document(path: &Path, text: &str) -> Result<Workload, WorkloadError> {
    #[derive(serde::Deserialize)]
    struct Header {
        #[serde(default)]
        schema: String,
    }
    let malformed = |source| WorkloadError::NotAWorkload { path: path.into(), source };
    let header: Header = serde_json::from_str(text).map_err(malformed)?;
    if header.schema != SCHEMA {
        return Err(WorkloadError::Schema { path: path.into(), found: header.schema });
    }
    let workload: Workload = serde_json::from_str(text).map_err(malformed)?;
    for script in &workload.scripts {
        pgbench::parse(&script.text).map_err(|error| WorkloadError::Script {
            path: path.into(),
            reason: format!("script {}, {error}", script.id),
        })?;
    }
    for statement in &workload.statements {
        if !(statement.weight.is_finite() && statement.weight > 0.0) {
            return Err(WorkloadError::Weight {
                path: path.into(),
                place: format!("statement {}", statement.id),
                text: statement.weight.to_string(),
            });
        }
    }
    Ok(workload)
}

/// A file's text, without a byte-order mark.
pub(crate) fn read_text(path: &Path) -> Result<String, WorkloadError> {
    let bytes = fs::read(path).map_err(WorkloadError::file("reading", path))?;
    let text =
        String::from_utf8(bytes).map_err(|_| WorkloadError::NotText { path: path.into() })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Writes a workload document, whole or not at all. Only its owner may read it: parameter values are data
/// of the database.
pub fn write(path: impl AsRef<Path>, workload: &Workload) -> Result<(), WorkloadError> {
    let path = path.as_ref();
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let result = create(&temporary, workload).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // The write is what failed and is reported; a leftover is only untidy.
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(WorkloadError::file("writing", path))
}

/// Written piece by piece: a recording is long.
fn create(path: &Path, workload: &Workload) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = BufWriter::new(options.open(path)?);
    serde_json::to_writer_pretty(&mut file, workload)?;
    file.write_all(b"\n")?;
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_document_makes_the_reader_panic(
            text in "[{}\\[\\]\"a-z0-9:,/ -]{0,60}",
            rest in "[{}\\[\\]\"a-z0-9:, -]{0,60}",
        ) {
            let path = Path::new("w.json");
            let _ = document(path, &text);
            let _ = document(path, &format!("{{\"schema\": \"{SCHEMA}\", {rest}"));
        }
    }
}
