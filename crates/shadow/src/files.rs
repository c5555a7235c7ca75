//! The files behind the shadow's relations, under a running server: made as long as the source's, without
//! contents.
//!
//! A page that the server has read stays in its buffers whatever the file says, so a file whose pages are to
//! change is written anew under another number (`pg_class.relfilenode`); the server then opens that.

use crate::ShadowError;
use crate::pages::PAGE;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

/// `RELSEG_SIZE`: blocks of one segment file, 1 GB.
const SEGMENT: u64 = 131_072;

/// The data directory of a shadow, and numbers for new files in it.
#[derive(Debug)]
pub(crate) struct Files {
    data: PathBuf,
    /// Far above those that a server counts up from 16384.
    next: u32,
}

impl Files {
    pub(crate) fn new(data: PathBuf) -> Self {
        Files { data, next: 3_500_000_000 }
    }

    /// The first `most` pages of a relation's file, by its `pg_relation_filepath`.
    pub(crate) fn first_pages(&self, path: &str, most: u64) -> Result<Vec<u8>, ShadowError> {
        use std::io::Read;
        let path = self.data.join(path);
        let file = File::open(&path).map_err(ShadowError::file(&path))?;
        let mut bytes = Vec::new();
        file.take(most * PAGE as u64).read_to_end(&mut bytes).map_err(ShadowError::file(&path))?;
        Ok(bytes)
    }

    /// Makes a relation's file `pages` long, and no shorter than it is.
    pub(crate) fn extend(&self, path: &str, pages: u64) -> Result<(), ShadowError> {
        let first = self.data.join(path);
        let segments = pages.div_ceil(SEGMENT).max(1);
        for segment in 0..segments {
            let length = (pages - segment * SEGMENT).min(SEGMENT) * PAGE as u64;
            let path = if segment == 0 { first.clone() } else { numbered(&first, segment) };
            let file = open(&path, &first)?;
            let now = file.metadata().map_err(ShadowError::file(&path))?.len();
            if now < length {
                file.set_len(length).map_err(ShadowError::file(&path))?;
            }
        }
        Ok(())
    }

    /// Cuts a relation's first segment to `pages`, and gives back what puts it right again. To a session that has
    /// not opened the relation yet it is that long, whatever segments follow.
    pub(crate) fn cut(&self, path: &str, pages: u64) -> Result<Cut, ShadowError> {
        use std::io::Read;
        /// More than rows at the ends of indexes take; pages behind them are empty.
        const KEPT: u64 = 64;
        let path = self.data.join(path);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(ShadowError::file(&path))?;
        let length = file.metadata().map_err(ShadowError::file(&path))?.len();
        let mut contents = Vec::new();
        (&mut file)
            .take(KEPT * PAGE as u64)
            .read_to_end(&mut contents)
            .map_err(ShadowError::file(&path))?;
        file.set_len(length.min(pages * PAGE as u64)).map_err(ShadowError::file(&path))?;
        Ok(Cut { path, file, length, contents })
    }

    /// Writes a new file beside `path` that begins with `contents` and is `pages` long; returns its number.
    pub(crate) fn write_new(
        &mut self,
        path: &str,
        contents: &[u8],
        pages: u64,
    ) -> Result<u32, ShadowError> {
        use std::os::unix::fs::FileExt;
        self.next += 1;
        let number = self.next;
        let beside = Path::new(path).with_file_name(number.to_string());
        let new = self.data.join(&beside);
        let file = open(&new, &self.data.join(path))?;
        file.write_all_at(contents, 0).map_err(ShadowError::file(&new))?;
        self.extend(&beside.to_string_lossy(), pages)?;
        Ok(number)
    }
}

/// A file that is cut for a while; dropped, it is as it was.
#[derive(Debug)]
pub(crate) struct Cut {
    path: PathBuf,
    file: File,
    length: u64,
    contents: Vec<u8>,
}

impl Drop for Cut {
    fn drop(&mut self) {
        use std::os::unix::fs::FileExt;
        let restored =
            self.file.write_all_at(&self.contents, 0).and_then(|()| self.file.set_len(self.length));
        if let Err(error) = restored {
            tracing::warn!(%error, path = %self.path.display(), "a file of the shadow was not restored");
        }
    }
}

/// Opens a file for writing; made new, it belongs to whom `like` belongs.
fn open(path: &Path, like: &Path) -> Result<File, ShadowError> {
    use std::os::unix::fs::OpenOptionsExt;
    let is_new = !path.exists();
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(ShadowError::file(path))?;
    if is_new {
        let owner = std::fs::metadata(like).map_err(ShadowError::file(like))?;
        let own = file.metadata().map_err(ShadowError::file(path))?;
        if (own.uid(), own.gid()) != (owner.uid(), owner.gid()) {
            chown(path, Some(owner.uid()), Some(owner.gid())).map_err(ShadowError::file(path))?;
        }
    }
    Ok(file)
}

fn numbered(first: &Path, segment: u64) -> PathBuf {
    let mut name = first.as_os_str().to_owned();
    name.push(format!(".{segment}"));
    PathBuf::from(name)
}
