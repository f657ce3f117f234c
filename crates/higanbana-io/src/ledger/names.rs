//! The names of a ledger, and its lines.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path},
};

use serde::{Deserialize, Serialize};

use super::{LEDGER, LedgerError, content::Content};
use crate::FileError;

/// The first line, the mark of the file.
pub(super) const HEADER: &str =
    "higanbana 1: what is listed here was written by higanbana, and may be replaced by it\n";

/// Relative names, with `/` between their parts, and what stands there, any of these; names of folders end in
/// `/`.
pub(super) type Listed = BTreeMap<String, Vec<Content>>;

/// A line, but for the sign that strikes it out.
#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line {
    Name(String),
    Whole { file: String, bytes: u64, sha256: String },
    Begins { file: String, begins: String },
}

impl From<Line> for (String, Content) {
    fn from(line: Line) -> Self {
        match line {
            Line::Name(name) => (name, Content::Any),
            Line::Whole { file, bytes, sha256 } => (file, Content::Whole { bytes, sha256 }),
            Line::Begins { file, begins } => (file, Content::Begins(begins)),
        }
    }
}

/// What stands at a path. Links are not followed: a link is no file of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    Nothing,
    File,
    Folder,
    Other,
}

impl Stands {
    pub fn at(path: &Path) -> Result<Self, FileError> {
        match fs::symlink_metadata(path) {
            Ok(there) if there.is_file() => Ok(Self::File),
            Ok(there) if there.is_dir() => Ok(Self::Folder),
            Ok(_) => Ok(Self::Other),
            Err(error) if is_absent(&error) => Ok(Self::Nothing),
            Err(source) => Err(FileError::Open { path: path.into(), source }),
        }
    }
}

/// Below a file there is nothing either.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The names that the ledger of a folder lists, if there is one.
pub(super) fn read(folder: &Path) -> Result<Option<Listed>, LedgerError> {
    let path = folder.join(LEDGER);
    match Stands::at(&path)? {
        Stands::Nothing => return Ok(None),
        Stands::File => {}
        Stands::Folder | Stands::Other => {
            return Err(unreadable(&path, "is no regular file"));
        }
    }
    let text = fs::read(&path).map_err(|source| FileError::Open { path: path.clone(), source })?;
    Ok(Some(parse(&path, &text)?.0))
}

/// The names of a ledger and the length of its whole lines: a kill may leave a part of one at the end,
/// whose file was not written then.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<(Listed, usize), LedgerError> {
    let mut listed = Listed::new();
    if HEADER.as_bytes().starts_with(bytes) {
        return Ok((listed, if bytes.len() == HEADER.len() { bytes.len() } else { 0 }));
    }
    let Some(rest) = bytes.strip_prefix(HEADER.as_bytes()) else {
        return Err(unreadable(path, "its first line is another"));
    };
    let mut length = HEADER.len();
    for (number, line) in rest.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let (gone, json) = match line.strip_prefix(b"-") {
            Some(json) => (true, json),
            None => (false, line),
        };
        let wrong = |reason: &str| unreadable(path, format!("line {}: {reason}", number + 2));
        let (name, content) = match serde_json::from_slice::<Line>(json) {
            Ok(line) => line.into(),
            Err(error) => return Err(wrong(&error.to_string())),
        };
        if !is_inside(&name) {
            return Err(wrong("leads elsewhere"));
        }
        match gone {
            true => drop(listed.remove(&name)),
            false => content.join(listed.entry(name).or_default()),
        }
        length += line.len() + 1;
    }
    Ok((listed, length))
}

/// The line that puts down what stands at a name.
pub(super) fn line(name: &str, content: &Content) -> String {
    let file = name.to_string();
    let line = match content.clone() {
        Content::Any => Line::Name(file),
        Content::Whole { bytes, sha256 } => Line::Whole { file, bytes, sha256 },
        Content::Begins(begins) => Line::Begins { file, begins },
    };
    serde_json::to_string(&line).expect("it has strings and a number") + "\n"
}

/// The line that strikes out a name.
pub(super) fn struck(name: &str) -> String {
    format!("-{}", line(name, &Content::Any))
}

/// Whether a name is that of something within the folder.
pub(super) fn is_inside(name: &str) -> bool {
    let parts = Path::new(name).components();
    let plain = parts.clone().all(|part| matches!(part, Component::Normal(_)));
    plain && parts.count() > 0 && !name.contains("//") && !name.split('/').any(|part| part == ".")
}

/// The folders that a name lies in, the outermost first: `a/` and `a/b/` of `a/b/c`.
pub(super) fn folders(name: &str) -> impl Iterator<Item = &str> {
    let inner = name.strip_suffix('/').unwrap_or(name);
    inner.match_indices('/').map(|(at, _)| &name[..=at])
}

fn unreadable(path: &Path, reason: impl Into<String>) -> LedgerError {
    LedgerError::Unreadable { path: path.into(), reason: reason.into() }
}
