//! The file of a bundle: a head that says what follows and how long it is, then the document, packed with zstd.
//!
//! The head is a skippable frame (RFC 8878, section 3.1.2), so `zstd -dc FILE` shows the document to whoever wants to
//! see what leaves the house. Its digest is what tells a damaged file from a whole one.

use crate::failure::Failure;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What the head names; the document's own schema is within.
const FORMAT: &str = "pgassay/bundle-file/1";
/// The first of the sixteen numbers of skippable frames.
const HEAD: [u8; 4] = 0x184D_2A50_u32.to_le_bytes();
/// A frame of zstd.
const FRAME: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// A document of more is no bundle.
const MOST: u64 = 4 << 30;

/// What the head says.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: String,
    /// Bytes of the packed document.
    packed: u64,
    /// Bytes of the document.
    document: u64,
    /// SHA-256 of the packed document, hexadecimal.
    sha256: String,
}

/// The head's name alone, which any later format has as well.
#[derive(Deserialize)]
struct Format {
    format: String,
}

/// Writes a document, for this account alone to read; bytes written.
pub fn write(path: &Path, document: &str) -> Result<u64, Failure> {
    let cannot = |error: String| {
        Failure::input(
            format!("cannot write {}: {error}", path.display()),
            "name a file in a directory that you may write to",
        )
    };
    let packed = compress_to_vec(document.as_bytes(), CompressionLevel::Fastest);
    let head = Head {
        format: FORMAT.to_owned(),
        packed: packed.len() as u64,
        document: document.len() as u64,
        sha256: digest(&packed),
    };
    let head = serde_json::to_vec(&head).map_err(|error| cannot(error.to_string()))?;
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX);
    let bytes = [&HEAD, length.to_le_bytes().as_slice(), &head, &packed].concat();
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(&bytes))
        .map_err(|error| cannot(error.to_string()))?;
    Ok(bytes.len() as u64)
}

/// Reads a document of one schema: packed, or as plain JSON; with what to say of a file without a digest.
pub fn read<T: DeserializeOwned>(
    path: &Path,
    schema: &str,
) -> Result<(T, Option<String>), Failure> {
    let refused = |why: String, hint: &str| {
        Failure::input(format!("{} can't be read as a bundle: {why}", path.display()), hint)
    };
    let again = "export it again, or copy it again in full";
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::input(format!("cannot read {}: {error}", path.display()), "check the path")
    })?;
    let (document, proven) = unpack(&bytes).map_err(|problem| match problem {
        Problem::Newer(found) => {
            refused(format!("it is {found}, and this pgassay reads {FORMAT}"), NEWER)
        }
        Problem::Damaged(why) => refused(why, again),
        Problem::Other(why) => refused(why, "pass a file that `pgassay bundle export` wrote"),
    })?;
    #[derive(Deserialize)]
    struct Schema {
        schema: String,
    }
    let found: Schema = serde_json::from_slice(&document)
        .map_err(|error| refused(format!("its document is none: {error}"), again))?;
    if found.schema != schema {
        let is_newer = found.schema.starts_with("pgassay/bundle/");
        let hint = if is_newer { NEWER } else { "pass a file that `pgassay bundle export` wrote" };
        return Err(refused(format!("it is {}, not {schema}", found.schema), hint));
    }
    let read =
        serde_json::from_slice(&document).map_err(|error| refused(error.to_string(), NEWER))?;
    let unproven = (!proven).then(|| {
        format!(
            "{} has no digest, as a file from `bundle export` has: whether its contents are as they were exported is not known",
            path.display()
        )
    });
    Ok((read, unproven))
}

const NEWER: &str =
    "advise with a pgassay as new as the one that wrote it, or export again with this one";

/// Why there is no document.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    /// Of another format, by name.
    Newer(String),
    /// It is not as it was written.
    Damaged(String),
    /// No bundle.
    Other(String),
}

/// The document, and whether a digest says that it is whole.
fn unpack(bytes: &[u8]) -> Result<(Vec<u8>, bool), Problem> {
    if bytes.starts_with(b"{") {
        return Ok((bytes.to_vec(), false));
    }
    if bytes.starts_with(&FRAME) {
        return Ok((decompress(bytes, MOST)?, false));
    }
    let Some(rest) = bytes.strip_prefix(&HEAD) else {
        return Err(Problem::Other("it is neither packed nor JSON".into()));
    };
    let cut = || Problem::Damaged("it is cut short within its head".into());
    let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (head, packed) = rest.split_at_checked(length).ok_or_else(cut)?;
    let named = |error: serde_json::Error| Problem::Damaged(format!("its head is none: {error}"));
    let Format { format } = serde_json::from_slice(head).map_err(named)?;
    if format != FORMAT {
        return Err(Problem::Newer(format));
    }
    let head: Head = serde_json::from_slice(head).map_err(named)?;
    let there = packed.len() as u64;
    if there < head.packed {
        return Err(Problem::Damaged(format!("it is cut short: {there} of {} bytes", head.packed)));
    }
    if there > head.packed || digest(packed) != head.sha256 {
        return Err(Problem::Damaged("it is damaged: its digest is another".into()));
    }
    let document = decompress(packed, head.document.min(MOST))?;
    if document.len() as u64 != head.document {
        return Err(Problem::Damaged("its document is of another length".into()));
    }
    Ok((document, true))
}

fn decompress(mut packed: &[u8], most: u64) -> Result<Vec<u8>, Problem> {
    let damaged = |error: String| Problem::Damaged(format!("it can't be unpacked: {error}"));
    let decoder = StreamingDecoder::new(&mut packed).map_err(|error| damaged(error.to_string()))?;
    let mut document = Vec::new();
    decoder
        .take(most.saturating_add(1))
        .read_to_end(&mut document)
        .map_err(|error| damaged(error.to_string()))?;
    if document.len() as u64 > most {
        return Err(damaged("its document is longer than it may be".into()));
    }
    Ok(document)
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use serde_json::{Value, json};

    const SCHEMA: &str = "pgassay/bundle/1";

    fn document() -> String {
        let rows: Vec<String> = (0..5000).map(|row| format!("column {} of it", row % 90)).collect();
        json!({"schema": SCHEMA, "rows": rows}).to_string()
    }

    fn read_back(bytes: &[u8]) -> Result<Value, Failure> {
        noted(bytes).map(|(value, _)| value)
    }

    fn noted(bytes: &[u8]) -> Result<(Value, Option<String>), Failure> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b");
        std::fs::write(&path, bytes).unwrap();
        read(&path, SCHEMA)
    }

    fn written(document: &str) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("b");
        let bytes = write(&path, document).unwrap();
        let written = std::fs::read(&path).unwrap();
        assert_eq!(written.len() as u64, bytes);
        written
    }

    #[test]
    fn a_bundle_is_packed_and_read_back_and_so_is_plain_json_and_a_bare_frame() {
        let document = document();
        let packed = written(&document);
        assert!(packed.len() * 2 < document.len(), "{} of {}", packed.len(), document.len());
        let whole: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(read_back(&packed).unwrap(), whole);
        assert_eq!(read_back(document.as_bytes()).unwrap(), whole);
        let frame = compress_to_vec(document.as_bytes(), CompressionLevel::Fastest);
        assert_eq!(read_back(&frame).unwrap(), whole);
        // Only the first says itself that it is whole.
        assert_eq!(noted(&packed).unwrap().1, None);
        for bytes in [document.as_bytes(), &frame] {
            assert!(noted(bytes).unwrap().1.unwrap().contains("no digest"));
        }
    }

    #[test]
    fn a_bundle_that_is_cut_or_damaged_anywhere_is_refused_and_said_to_be() {
        let packed = written(&document());
        for length in [0, 3, 6, 9, 40, packed.len() / 2, packed.len() - 1] {
            let failure = read_back(&packed[..length]).unwrap_err();
            assert_eq!(failure.exit as i32, 2);
            if length > 8 {
                assert!(failure.message.contains("cut short"), "{length}: {}", failure.message);
            }
        }
        for place in (0..packed.len()).step_by(97).chain([packed.len() - 1]) {
            let mut damaged = packed.clone();
            damaged[place] ^= 0x10;
            assert!(read_back(&damaged).is_err(), "{place}");
        }
        let longer = [packed.as_slice(), b"x"].concat();
        assert!(read_back(&longer).unwrap_err().message.contains("damaged"));
    }

    #[test]
    fn a_bundle_of_a_later_format_or_another_document_is_refused_by_name() {
        let mut later = written(&document());
        let place = later.windows(6).position(|some| some == b"file/1").unwrap();
        later[place + 5] = b'2';
        let failure = read_back(&later).unwrap_err();
        assert!(failure.message.contains("pgassay/bundle-file/2"), "{}", failure.message);
        assert!(failure.hint.contains("as new as"), "{}", failure.hint);
        let failure = read_back(&written(r#"{"schema": "pgassay/bundle/7"}"#)).unwrap_err();
        assert!(failure.message.contains("pgassay/bundle/7"), "{}", failure.message);
        assert!(failure.hint.contains("as new as"), "{}", failure.hint);
        let failure = read_back(&written(r#"{"schema": "pgassay/plan/1"}"#)).unwrap_err();
        assert!(failure.hint.contains("bundle export"), "{}", failure.hint);
        assert!(read_back(b"nonsense").is_err());
    }
}
