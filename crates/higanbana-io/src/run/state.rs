//! How a run stands, asked from outside.

use std::{fs, io, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::{ERROR, METRICS, NAMES, RESULT, RunError};
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

/// The result, if there is one, and what the run made besides is as it wrote it, as far as it is there.
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
    match Ledger::changed(folder, |name| name == RESULT || !NAMES.iter().any(|own| is(name, own)))?
    {
        Some(path) => Err(RunError::Damaged { path }),
        None => Ok(Some(written.result)),
    }
}

/// Whether a name is that of a file or of a folder that it lies in.
fn is(name: &str, other: &str) -> bool {
    name == other || other.ends_with('/') && name.starts_with(other)
}

/// Whether a configuration is another one but for numbers at these dotted keys, one of which is larger, and
/// none smaller.
pub(super) fn is_longer(longer: &toml::Table, shorter: &toml::Table, keys: &[&str]) -> bool {
    let without = |table: &toml::Table| {
        let (mut rest, mut ends) = (table.clone(), Vec::new());
        for key in keys {
            let (tables, last) = key.rsplit_once('.').unwrap_or(("", key));
            let mut names = tables.split('.').filter(|name| !name.is_empty());
            let table =
                names.try_fold(&mut rest, |table, name| table.get_mut(name)?.as_table_mut());
            ends.push(table.and_then(|table| table.remove(last)).and_then(|end| end.as_integer()));
        }
        (rest, ends)
    };
    let ((rest, ends), (other, others)) = (without(longer), without(shorter));
    let has_both = |(end, other): (&Option<i64>, &Option<i64>)| end.is_some() == other.is_some();
    rest == other
        && ends > others
        && ends.iter().zip(&others).all(|(a, b)| a >= b && has_both((a, b)))
}

/// The text of a file, if it is there.
pub(super) fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Open { path: path.into(), source }),
    }
}
