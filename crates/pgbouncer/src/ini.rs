//! PgBouncer's configuration file, lossless: comments, order, spacing, line ends and encoding stay.
//!
//! Read as PgBouncer reads it: comments only at the start of a line, keys case-sensitive, the last
//! duplicate wins, every `[pgbouncer]` header starts again from the defaults, `%include` goes on in the
//! section that the included file ends in. Only the file itself is edited, never an included one.

use crate::PgBouncerError;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// PgBouncer's own section.
const SECTION: &str = "pgbouncer";
/// PgBouncer's limit is 10 levels.
const INCLUDE_LEVELS: usize = 10;

/// A configuration file with what it includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ini {
    path: PathBuf,
    lines: Vec<Line>,
    /// Contents of included files at the line of the `%include`, by line number from 0.
    included: BTreeMap<usize, Ini>,
}

/// A setting in force, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value.
    pub value: String,
    /// File of the line.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// With its line end.
    raw: Vec<u8>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// Blank or comment.
    Nothing,
    Section(String),
    Include(PathBuf),
    Entry {
        key: String,
        /// Bytes of the value within the line.
        value: Range<usize>,
    },
}

/// State while walking through a file and its includes.
#[derive(Default)]
struct Walk {
    section: Option<String>,
    settings: BTreeMap<String, Setting>,
    /// Whether the section being read was opened in the outermost file.
    opened_here: bool,
    /// Line of the outermost file after which a key of the last `[pgbouncer]` section can be added.
    insert_after: Option<usize>,
    level: usize,
    headers: usize,
}

impl Ini {
    /// Reads a file and what it includes; relative includes are taken from `working_directory`, as PgBouncer
    /// takes them from its own.
    pub fn read(path: &Path, working_directory: &Path) -> Result<Ini, PgBouncerError> {
        let bytes = std::fs::read(path).map_err(PgBouncerError::file("reading", path))?;
        Ini::parse(&bytes, path, working_directory)
    }

    /// Reads bytes as the content of `path`; included files are read from disk.
    pub fn parse(
        bytes: &[u8],
        path: &Path,
        working_directory: &Path,
    ) -> Result<Ini, PgBouncerError> {
        parse(bytes, path, working_directory, 0)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value in force of a key of `[pgbouncer]`; None: the default.
    pub fn get(&self, key: &str) -> Option<String> {
        self.setting(key).map(|setting| setting.value)
    }

    /// The value in force of a key of `[pgbouncer]`, and where it stands.
    pub fn setting(&self, key: &str) -> Option<Setting> {
        self.walked().settings.remove(key)
    }

    /// Every key of `[pgbouncer]` in force.
    pub fn settings(&self) -> BTreeMap<String, Setting> {
        self.walked().settings
    }

    /// Files that it includes, directly or not, in order.
    pub fn includes(&self) -> Vec<PathBuf> {
        self.included
            .values()
            .flat_map(|ini| std::iter::once(ini.path.clone()).chain(ini.includes()))
            .collect()
    }

    /// How many `[pgbouncer]` headers there are, includes counted: more than one means that the earlier
    /// ones have no effect.
    pub fn headers(&self) -> usize {
        self.walked().headers
    }

    /// Sets a key of `[pgbouncer]`: in its line where it has one, else on a new line at the section's end.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), PgBouncerError> {
        self.check(key, value)?;
        let walk = self.walked();
        match walk.settings.get(key) {
            Some(setting) if setting.path != self.path => Err(self.refused(
                key,
                format!(
                    "the line in force is line {} of {}; change it there by hand",
                    setting.line,
                    setting.path.display()
                ),
            )),
            Some(setting) => {
                let at = setting.line.saturating_sub(1);
                if let Some(Line { raw, kind: Kind::Entry { value: range, .. } }) =
                    self.lines.get_mut(at)
                {
                    let before = raw.get(range.start.wrapping_sub(1)).copied();
                    let space =
                        if range.start == range.end && before == Some(b'=') { " " } else { "" };
                    raw.splice(range.clone(), format!("{space}{value}").into_bytes());
                    let start = range.start + space.len();
                    *range = value_range(raw, start, value);
                }
                Ok(())
            }
            None => self.append(key, value),
        }
    }

    /// Adds a line at the end of the last `[pgbouncer]` section, which wins over every earlier one.
    pub(crate) fn append(&mut self, key: &str, value: &str) -> Result<(), PgBouncerError> {
        self.check(key, value)?;
        let Some(after) = self.walked().insert_after else {
            return Err(self.refused(
                key,
                "its [pgbouncer] section stands or is left in an included file; add the line by hand".into(),
            ));
        };
        let end = match self.lines.get_mut(after) {
            Some(line) => {
                let end: &[u8] = if line.raw.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
                if !line.raw.ends_with(b"\n") {
                    line.raw.extend_from_slice(end);
                }
                end.to_vec()
            }
            None => b"\n".to_vec(),
        };
        let mut raw = format!("{key} = {value}").into_bytes();
        let from = key.len() + 3;
        let kind = Kind::Entry { key: key.to_string(), value: value_range(&raw, from, value) };
        raw.extend_from_slice(&end);
        self.lines.insert(after + 1, Line { raw, kind });
        self.included = std::mem::take(&mut self.included)
            .into_iter()
            .map(|(line, ini)| (if line > after { line + 1 } else { line }, ini))
            .collect();
        Ok(())
    }

    /// The file's content, without what it includes; identical to what was read unless a key was set.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| line.raw.iter().copied()).collect()
    }

    fn check(&self, key: &str, value: &str) -> Result<(), PgBouncerError> {
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(self.refused(key, "it is no key of PgBouncer".into()));
        }
        if value.chars().any(char::is_control) || value.trim() != value {
            return Err(self.refused(
                key,
                "its new value has a control character or a space at an end".into(),
            ));
        }
        Ok(())
    }

    fn refused(&self, key: &str, reason: String) -> PgBouncerError {
        PgBouncerError::NotEditable { what: key.to_string(), path: self.path.clone(), reason }
    }

    fn walked(&self) -> Walk {
        let mut walk = Walk::default();
        self.walk(&mut walk);
        walk
    }

    fn walk(&self, walk: &mut Walk) {
        let outermost = walk.level == 0;
        for (number, line) in self.lines.iter().enumerate() {
            match &line.kind {
                Kind::Nothing => continue,
                Kind::Section(name) => {
                    walk.section = Some(name.clone());
                    if name == SECTION {
                        walk.settings.clear();
                        walk.headers += 1;
                        walk.opened_here = outermost;
                        walk.insert_after = None;
                    }
                }
                Kind::Include(_) => {
                    if let Some(ini) = self.included.get(&number) {
                        walk.level += 1;
                        ini.walk(walk);
                        walk.level -= 1;
                    }
                }
                Kind::Entry { key, value } => {
                    if walk.section.as_deref() == Some(SECTION) {
                        let bytes = line.raw.get(value.clone()).unwrap_or_default();
                        let value = String::from_utf8_lossy(bytes).into_owned();
                        let setting = Setting { value, path: self.path.clone(), line: number + 1 };
                        walk.settings.insert(key.clone(), setting);
                    }
                }
            }
            if outermost && walk.opened_here && walk.section.as_deref() == Some(SECTION) {
                walk.insert_after = Some(number);
            }
        }
    }
}

fn parse(
    bytes: &[u8],
    path: &Path,
    working_directory: &Path,
    level: usize,
) -> Result<Ini, PgBouncerError> {
    let mut ini = Ini { path: path.to_path_buf(), lines: Vec::new(), included: BTreeMap::new() };
    for (number, raw) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let broken = |problem: String| PgBouncerError::Syntax {
            path: path.to_path_buf(),
            line: number + 1,
            problem,
        };
        let kind = line_kind(raw).map_err(|problem| broken(problem.into()))?;
        if let Kind::Include(named) = &kind {
            if level >= INCLUDE_LEVELS {
                return Err(broken("%include nested too deeply".into()));
            }
            let file = working_directory.join(named);
            let content = std::fs::read(&file).map_err(PgBouncerError::file("reading", &file))?;
            ini.included.insert(number, parse(&content, &file, working_directory, level + 1)?);
        }
        ini.lines.push(Line { raw: raw.to_vec(), kind });
    }
    Ok(ini)
}

/// Where a value stands that was written at `start`; an empty one, as reading it would find it, right after
/// the last character of its line that is no space.
fn value_range(raw: &[u8], start: usize, value: &str) -> Range<usize> {
    if value.is_empty() {
        let end = raw.iter().rposition(|byte| !space(*byte)).map_or(0, |last| last + 1);
        return end..end;
    }
    start..start + value.len()
}

/// C's isspace.
fn space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// What a line is, as libusual's `parse_ini_file` reads it.
fn line_kind(raw: &[u8]) -> Result<Kind, &'static str> {
    if raw.contains(&0) {
        return Err("a zero byte");
    }
    let start = raw.iter().position(|byte| !space(*byte)).unwrap_or(raw.len());
    let end = raw.iter().rposition(|byte| !space(*byte)).map_or(start, |last| last + 1);
    let line = raw.get(start..end).unwrap_or_default();
    match line.first() {
        None | Some(b';' | b'#') => return Ok(Kind::Nothing),
        Some(b'[') => {
            let close = line
                .iter()
                .position(|byte| *byte == b']')
                .ok_or("a section header is not closed")?;
            if line.len() > close + 1 {
                return Err("text after a section header; put it on a line of its own");
            }
            let name = line.get(1..close).unwrap_or_default();
            return Ok(Kind::Section(String::from_utf8_lossy(name).into_owned()));
        }
        _ => {}
    }
    if let Some(rest) = line.strip_prefix(b"%include")
        && rest.first().is_none_or(|byte| space(*byte))
    {
        let name = rest.trim_ascii();
        if name.is_empty() {
            return Err("%include without a file");
        }
        return Ok(Kind::Include(PathBuf::from(String::from_utf8_lossy(name).into_owned())));
    }
    let key_end = if line.first() == Some(&b'"') {
        let mut at = 1;
        loop {
            match (line.get(at), line.get(at + 1)) {
                (Some(b'"'), Some(b'"')) => at += 2,
                (Some(b'"'), _) => break at + 1,
                (Some(_), _) => at += 1,
                (None, _) => return Err("a quoted name is not closed"),
            }
        }
    } else {
        line.iter()
            .position(|byte| *byte == b'=' || space(*byte))
            .ok_or("neither comment, section nor key = value")?
    };
    let key = line.get(..key_end).unwrap_or_default();
    if key.is_empty() {
        return Err("a key is missing before =");
    }
    let blank = |at: &usize| matches!(line.get(*at), Some(b' ' | b'\t'));
    let mut at = key_end;
    while blank(&at) {
        at += 1;
    }
    if line.get(at) != Some(&b'=') {
        return Err("= is missing after the key");
    }
    at += 1;
    while blank(&at) {
        at += 1;
    }
    Ok(Kind::Entry { key: String::from_utf8_lossy(key).into_owned(), value: start + at..end })
}

#[cfg(test)]
mod tests;
