//! Log files: found, unpacked, put in order of time.

use crate::log::error::LogError;
use crate::log::format::{Registered, recognised};
use crate::log::language;
use crate::log::prefix::Prefix;
use crate::log::time::Micros;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes of a file that tell what it is.
const FIRST_BYTES: usize = 64 << 10;
/// Bytes at the end of a file in which a time is looked for.
const LAST_BYTES: u64 = 1 << 20;

const GZIP: &[u8] = &[0x1f, 0x8b];
/// RFC 8878, section 3.1.1.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// A log and what its beginning tells.
pub(crate) struct Source {
    pub path: PathBuf,
    pub format: &'static Registered,
    /// Of the first entry.
    pub begins: Option<Micros>,
    first: Vec<u8>,
    /// What follows `first`, where it can be read only once.
    rest: Option<Box<dyn Read>>,
    packed: bool,
}

impl Source {
    /// Its bytes from the beginning.
    pub(crate) fn open(self) -> Result<Box<dyn Read>, LogError> {
        match self.rest {
            Some(rest) => Ok(Box::new(io::Cursor::new(self.first).chain(rest))),
            None => reader(&self.path).map(|(reader, _)| reader),
        }
    }

    /// Its language, where that is a known one other than English.
    pub(crate) fn language(&self) -> Option<&'static str> {
        language::recognised(&self.first)
    }

    /// The time of its last entry.
    pub(crate) fn ends(&self, prefix: &Prefix) -> Result<Option<Micros>, LogError> {
        if self.rest.is_some() {
            return Err(LogError::WindowOfStream);
        }
        let failed = |source| LogError::File { path: self.path.clone(), source };
        let mut last = Vec::new();
        if self.packed {
            let (mut reader, _) = reader(&self.path)?;
            let mut buffer = vec![0; LAST_BYTES as usize];
            loop {
                let length = match reader.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(length) => length,
                };
                last.extend_from_slice(buffer.get(..length).unwrap_or_default());
                let superfluous = last.len().saturating_sub(LAST_BYTES as usize);
                if superfluous > LAST_BYTES as usize {
                    last.drain(..superfluous);
                }
            }
        } else {
            let mut file = File::open(&self.path).map_err(failed)?;
            let length = file.metadata().map_err(failed)?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES))).map_err(failed)?;
            file.read_to_end(&mut last).map_err(failed)?;
        }
        let mut time = None;
        let mut format = (self.format.open)(prefix);
        // The first line may be half of one.
        let start = memchr::memchr(b'\n', &last).map_or(0, |newline| newline + 1);
        let rest = if self.packed || start == last.len() {
            &last[..]
        } else {
            last.get(start..).unwrap_or_default()
        };
        format.feed(rest, true, &mut |entry| time = time.max(entry.time));
        Ok(time.or(self.begins))
    }
}

/// Opens all logs in order of their first entries; a directory stands for the files in it, `-` for standard input.
/// A file that is given twice is read once.
pub(crate) fn sources(paths: &[PathBuf], prefix: &Prefix) -> Result<Vec<Source>, LogError> {
    let mut files = Vec::new();
    for path in paths {
        let failed = |source| LogError::File { path: path.clone(), source };
        if path.as_os_str() != "-" && std::fs::metadata(path).map_err(failed)?.is_dir() {
            let mut found = Vec::new();
            for entry in std::fs::read_dir(path).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if entry.metadata().map_err(failed)?.is_file()
                    && entry.metadata().map_err(failed)?.len() > 0
                {
                    found.push(entry.path());
                }
            }
            files.extend(once(found));
        } else {
            files.push(path.clone());
        }
    }
    if files.is_empty() {
        let place = paths.first().map_or("nothing".into(), |path| path.display().to_string());
        return Err(LogError::NoFiles { place });
    }
    let mut known = BTreeSet::new();
    files.retain(|path| path.canonicalize().map_or(true, |path| known.insert(path)));
    let mut sources =
        files.iter().map(|path| source(path, prefix)).collect::<Result<Vec<_>, _>>()?;
    // Stable: files without times stay as they were given, behind the others.
    sources.sort_by_key(|source| (source.begins.is_none(), source.begins));
    Ok(sources)
}

/// A directory's logs in order of names. With several `log_destination`s the server writes the same entries into
/// files that differ in their extensions: of these the one that needs no prefix is read.
fn once(mut found: Vec<PathBuf>) -> Vec<PathBuf> {
    found.sort();
    let written: Vec<Option<(String, usize)>> = found.iter().map(|path| written(path)).collect();
    let mut all = written.iter();
    found.retain(|_| {
        let Some(Some((name, own))) = all.next() else { return true };
        !written.iter().flatten().any(|(other, rank)| other == name && rank < own)
    });
    found
}

/// A log's name without the extension of its format, which rotation may have put others behind (`a.csv.1.gz`), and
/// which one that is, the best to read first.
fn written(path: &Path) -> Option<(String, usize)> {
    const WRITTEN: [&str; 3] = ["json", "csv", "log"];
    let mut parts: Vec<&str> = path.file_name()?.to_str()?.split('.').collect();
    let (place, rank) = parts.iter().enumerate().skip(1).rev().find_map(|(place, part)| {
        Some((place, WRITTEN.iter().position(|written| written == part)?))
    })?;
    parts.remove(place);
    Some((parts.join("."), rank))
}

fn source(path: &Path, prefix: &Prefix) -> Result<Source, LogError> {
    let (mut reader, packed) = reader(path)?;
    let mut first = Vec::new();
    let mut limited = (&mut reader).take(FIRST_BYTES as u64);
    let read = limited.read_to_end(&mut first);
    if let (Err(source), true) = (read, first.is_empty()) {
        return Err(LogError::File { path: path.into(), source });
    }
    if first.is_empty() {
        return Err(LogError::Empty { path: path.into() });
    }
    // PostgreSQL's text holds no zero bytes; a crash can leave some at the end of a file.
    if first.get(..512.min(first.len())).is_some_and(|start| start.contains(&0)) {
        return Err(LogError::Binary { path: path.into() });
    }
    if first.starts_with(b"\xef\xbb\xbf") {
        first.drain(..3);
    }
    let format = recognised(&first);
    let mut begins = None;
    (format.open)(prefix).feed(&first, true, &mut |entry| begins = begins.or(entry.time));
    let regular =
        path.as_os_str() != "-" && std::fs::metadata(path).is_ok_and(|file| file.is_file());
    Ok(Source {
        path: path.into(),
        format,
        begins,
        first,
        rest: (!regular).then_some(reader),
        packed,
    })
}

/// The bytes of a file, unpacked; also whether it was packed.
fn reader(path: &Path) -> Result<(Box<dyn Read>, bool), LogError> {
    let failed = |source| LogError::File { path: path.into(), source };
    let mut reader: Box<dyn BufRead> = if path.as_os_str() == "-" {
        Box::new(BufReader::with_capacity(FIRST_BYTES, io::stdin()))
    } else {
        Box::new(BufReader::with_capacity(FIRST_BYTES, File::open(path).map_err(failed)?))
    };
    let magic = reader.fill_buf().map_err(failed)?;
    if magic.starts_with(GZIP) {
        return Ok((Box::new(flate2::bufread::MultiGzDecoder::new(reader)), true));
    }
    if magic.starts_with(ZSTD) {
        return Ok((Box::new(Zstd { frame: None, rest: Some(reader) }), true));
    }
    Ok((Box::new(reader), false))
}

/// zstd: frames one after another.
struct Zstd {
    frame: Option<
        ruzstd::decoding::StreamingDecoder<Box<dyn BufRead>, ruzstd::decoding::FrameDecoder>,
    >,
    rest: Option<Box<dyn BufRead>>,
}

impl Read for Zstd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let length = frame.read(buffer)?;
                if length > 0 || buffer.is_empty() {
                    return Ok(length);
                }
                self.rest = self.frame.take().map(ruzstd::decoding::StreamingDecoder::into_inner);
            }
            let Some(mut rest) = self.rest.take() else { return Ok(0) };
            if rest.fill_buf()?.is_empty() {
                return Ok(0);
            }
            let frame = ruzstd::decoding::StreamingDecoder::new(rest).map_err(io::Error::other)?;
            self.frame = Some(frame);
        }
    }
}
