//! How a file is recognised as the one that was written.
//!
//! A file is ours when it holds what was put down for its name: so many bytes with this SHA-256. The time of
//! its last change is no part of that, since a copy, an archive or a checkout of Git changes it. A file that
//! grows line by line is recognised by how it begins, until it is complete.
//!
//! Files of [`LARGE`] bytes or more are read once in a process: the hash is kept for as long as length and
//! time of change stay what they were.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use sha2::{Digest, Sha256};

use crate::FileError;

/// Bytes from which on a file takes long to read.
const LARGE: u64 = 1 << 26;

/// Bytes of the beginning that a growing file is known by, at most.
const BEGINNING: usize = 256;

/// What a file holds that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Anything: a folder, or a file of a ledger that lists names alone, as earlier versions wrote it.
    Any,
    /// What has this length and this SHA-256.
    Whole { bytes: u64, sha256: String },
    /// What begins so. An empty file does, and one that a kill cut off within the beginning.
    Begins(String),
}

impl Content {
    /// Of the file at `read`, which is that of `path` or will be.
    pub fn of(read: &Path, path: &Path) -> Result<Self, FileError> {
        let failed = |source| FileError::Read { path: path.into(), source };
        let (bytes, sha256) = hash(read).map_err(failed)?;
        Ok(Self::Whole { bytes, sha256 })
    }

    /// Of a file that grows and has this first line.
    pub fn begins(line: &str) -> Self {
        Self::Begins(line[..line.floor_char_boundary(BEGINNING)].into())
    }

    /// Of a file that grows and is there.
    pub fn begun(path: &Path) -> Result<Self, FileError> {
        let begin = beginning(path)?;
        let valid = begin.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        Ok(Self::begins(valid.split_inclusive('\n').next().unwrap_or_default()))
    }

    /// Whether the file at `path` holds it.
    pub fn is_at(&self, path: &Path) -> Result<bool, FileError> {
        let failed = |source| FileError::Read { path: path.into(), source };
        Ok(match self {
            Self::Any => true,
            Self::Whole { bytes, sha256 } => {
                let length = path.symlink_metadata().map_err(failed)?.len();
                length == *bytes && hash(path).map_err(failed)?.1 == *sha256
            }
            Self::Begins(begin) => {
                let (found, begin) = (beginning(path)?, begin.as_bytes());
                found.is_empty()
                    || !begin.is_empty() && (found.starts_with(begin) || begin.starts_with(&found))
            }
        })
    }

    /// Puts it down among those that a name may have. A file that is replaced may hold the old or the new one;
    /// one that is complete has grown.
    pub fn join(self, others: &mut Vec<Self>) {
        let is_whole = |content: &Self| matches!(content, Self::Whole { .. });
        others.retain(|other| *other != self && is_whole(other) && is_whole(&self));
        others.push(self);
    }
}

fn beginning(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut begin = Vec::new();
    let read = File::open(path).and_then(|it| it.take(BEGINNING as u64).read_to_end(&mut begin));
    read.map_err(|source| FileError::Read { path: path.into(), source })?;
    Ok(begin)
}

/// Length, time of change and hash of large files that were read.
type Seen = BTreeMap<PathBuf, (u64, SystemTime, String)>;

static SEEN: Mutex<Seen> = Mutex::new(Seen::new());

fn seen() -> MutexGuard<'static, Seen> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was read of a file is known of it in its new place.
pub(super) fn moved(from: &Path, to: &Path) {
    let mut seen = seen();
    if let Some(known) = seen.remove(from) {
        seen.insert(to.into(), known);
    }
}

/// Length and SHA-256 of a file.
fn hash(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    let (length, time) = (about.len(), about.modified()?);
    if let Some((bytes, at, sha256)) = seen().get(path)
        && (*bytes, *at) == (length, time)
    {
        return Ok((length, sha256.clone()));
    }
    let mut hash = Sha256::new();
    let bytes = io::copy(&mut file, &mut hash)?;
    let sha256 = format!("{:x}", hash.finalize());
    if bytes >= LARGE {
        seen().insert(path.into(), (bytes, time, sha256.clone()));
    }
    Ok((bytes, sha256))
}
