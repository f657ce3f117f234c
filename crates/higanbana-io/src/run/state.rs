//! How a run stands, asked from outside.

use std::{fs, io, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::{ERROR, METRICS, RESULT, RunError};
use crate::{FileError, ledger::Ledger};

/// How a run stands.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It was never begun.
    Missing,
    /// A process works on it now.
    Running,
    /// Its process ended without a word: it was killed.
    Interrupted,
    /// Its last attempt failed, for this reason.
    Failed(String),
    /// It is done; this is its result.
    Done(Value),
}

impl State {
    /// The state of the run of this [`identity`](super::identity) in `folder`.
    ///
    /// # Errors
    /// When a file of it cannot be read, or the result is that of another configuration.
    pub fn of(folder: &Path, identity: &str) -> Result<Self, RunError> {
        if let Some(result) = result(folder, identity)? {
            return Ok(Self::Done(result));
        }
        if Ledger::is_claimed(folder)? {
            return Ok(Self::Running);
        }
        // It may have ended since the first look.
        if let Some(result) = result(folder, identity)? {
            return Ok(Self::Done(result));
        }
        // Earlier versions had no ledger.
        if !Ledger::is_in(folder)? && !folder.join(METRICS).exists() {
            return Ok(Self::Missing);
        }
        Ok(match read(&folder.join(ERROR))? {
            Some(reason) => Self::Failed(reason.trim().into()),
            None => Self::Interrupted,
        })
    }
}

#[derive(Deserialize)]
struct Written {
    run: String,
    result: Value,
}

/// The result, if there is one.
pub(super) fn result(folder: &Path, identity: &str) -> Result<Option<Value>, RunError> {
    let path = folder.join(RESULT);
    let Some(text) = read(&path)? else { return Ok(None) };
    let written: Written = serde_json::from_str(&text).map_err(|error| {
        let reason =
            format!("is no result of a run ({error}); name another folder, or move it away");
        FileError::Config { path, reason }
    })?;
    if written.run != identity {
        return Err(RunError::Changed {
            folder: folder.into(),
            what: "another configuration".into(),
        });
    }
    Ok(Some(written.result))
}

/// The text of a file, if it is there.
pub(super) fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Open { path: path.into(), source }),
    }
}
