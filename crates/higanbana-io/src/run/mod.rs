//! A run: a folder that holds what was asked for, what was measured on the way, and the answer.
//!
//! ```text
//! run.toml        the resolved configuration; the SHA-256 of this file is the identity of the run
//! metrics.jsonl   a JSON object a line, appended as the run goes on; who writes it holds its lock
//! checkpoints/    what a run that was killed goes on from
//! error.txt       why the last attempt failed, in one line
//! result.json     {"run": identity, "version": of the toolkit, "result": ...}: written last, by rename
//! ```
//!
//! `result.json` is the done flag. A run is *identified* by its configuration and not by its folder: a
//! folder of another configuration is refused, naming the key that differs, and never taken for done.
//!
//! A run is *claimed* by an exclusive lock on `metrics.jsonl`, so that no two processes work on it. The
//! system releases the lock when the process ends, however it ends: the claim of a killed run needs no
//! clean-up, no clock and no guess. Network file systems pass such locks on (NFS does since Linux 2.6.12;
//! Lustre where it is mounted with `flock`); where there are none, [`Run::begin`] says so.
//!
//! ```
//! use higanbana_io::run::{Begun, Run};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let configuration = toml::toml! { steps = 2 };
//! let result = match Run::begin(folder.path(), &configuration)? {
//!     Begun::Done(result) => result,
//!     Begun::Open(mut run) => {
//!         for step in 0..2 {
//!             run.record(&serde_json::json!({ "step": step, "loss": 0.5 }))?;
//!         }
//!         run.finish(&serde_json::json!({ "loss": 0.5 }))?
//!     }
//! };
//! assert_eq!(result["loss"], 0.5);
//! # Ok(())
//! # }
//! ```

mod error;
mod metrics;
mod state;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{FileError, writer::write_text};
pub use error::RunError;
use metrics::Metrics;
pub use state::State;

const CONFIGURATION: &str = "run.toml";
const METRICS: &str = "metrics.jsonl";
const CHECKPOINTS: &str = "checkpoints";
const ERROR: &str = "error.txt";
const RESULT: &str = "result.json";

/// A run under way in this process. Dropped without [`Run::finish`] or [`Run::fail`], it is interrupted.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    identity: String,
    metrics: Metrics,
}

/// What [`Run::begin`] finds.
#[derive(Debug)]
pub enum Begun {
    /// The run is done; this is its result.
    Done(Value),
    /// There is work to do.
    Open(Run),
}

impl Run {
    /// Claims the run of this configuration in `folder`, which is made where it is missing.
    ///
    /// One that was killed goes on from its checkpoints, its metrics cut back to whole lines. Without
    /// checkpoints there is nothing to go on from, and the metrics begin anew.
    ///
    /// # Errors
    /// When the folder holds another configuration, another process has the claim, or files cannot be
    /// read or written.
    pub fn begin(folder: &Path, configuration: &toml::Table) -> Result<Begun, RunError> {
        let text = configuration.to_string();
        let identity = sha256(&text);
        // A finished run is never written to: its folder may be read-only.
        if let Some(result) = state::result(folder, &identity)? {
            return Ok(Begun::Done(result));
        }
        let failed = |source| FileError::Write { path: folder.into(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let metrics = Metrics::claim(&folder.join(METRICS))?;
        // The one who had the claim until now may have finished.
        if let Some(result) = state::result(folder, &identity)? {
            return Ok(Begun::Done(result));
        }
        match state::read(&folder.join(CONFIGURATION))? {
            Some(found) if found == text => (),
            Some(found) => return Err(RunError::changed(folder, &found, configuration)),
            None => write_text(&folder.join(CONFIGURATION), &text, false)?,
        }
        remove(&folder.join(ERROR))?;
        let mut run = Self { folder: folder.into(), identity, metrics };
        if is_empty(&run.folder.join(CHECKPOINTS)) {
            run.rewind(0)?;
        } else {
            run.metrics.cut()?;
        }
        Ok(Begun::Open(run))
    }

    /// As [`Run::begin`], but what the folder holds of an earlier run, whatever its configuration and
    /// even if it is done, goes first.
    ///
    /// # Errors
    /// When another process has the claim, or files cannot be read or written.
    pub fn begin_anew(folder: &Path, configuration: &toml::Table) -> Result<Self, RunError> {
        let failed = |source| FileError::Write { path: folder.into(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let metrics = Metrics::claim(&folder.join(METRICS))?;
        // The done flag first: a half-removed run is not done.
        for name in [RESULT, CONFIGURATION, ERROR] {
            remove(&folder.join(name))?;
        }
        let checkpoints = folder.join(CHECKPOINTS);
        if checkpoints.exists() {
            let failed = |source| FileError::Write { path: checkpoints.clone(), source };
            fs::remove_dir_all(&checkpoints).map_err(failed)?;
        }
        let text = configuration.to_string();
        write_text(&folder.join(CONFIGURATION), &text, false)?;
        let mut run = Self { folder: folder.into(), identity: sha256(&text), metrics };
        run.rewind(0)?;
        Ok(run)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of checkpoints, made where it is missing. It is the run's own to fill and to tidy.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn checkpoints(&self) -> Result<PathBuf, RunError> {
        let path = self.folder.join(CHECKPOINTS);
        match fs::create_dir_all(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(FileError::Write { path, source }.into()),
        }
    }

    /// Appends a line of metrics. Numbers that JSON lacks, NaN and infinities, become `null`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record(&mut self, line: &impl Serialize) -> Result<(), RunError> {
        self.metrics.append(line)
    }

    /// The lines of metrics so far.
    ///
    /// # Errors
    /// When one is no JSON.
    pub fn metrics(&self) -> Result<Vec<Value>, RunError> {
        self.metrics.lines()
    }

    /// Keeps the first lines of the metrics alone: those up to the checkpoint that a run goes on from.
    ///
    /// # Errors
    /// When the file cannot be cut.
    pub fn rewind(&mut self, lines: usize) -> Result<(), RunError> {
        self.metrics.rewind(lines)
    }

    /// Writes the result: the run is done. Gives the result as it was written.
    ///
    /// # Errors
    /// When it cannot be written; the run is not done then.
    pub fn finish(self, result: &impl Serialize) -> Result<Value, RunError> {
        let path = self.folder.join(RESULT);
        let config = |error: serde_json::Error| FileError::Config {
            path: path.clone(),
            reason: error.to_string(),
        };
        let result = serde_json::to_value(result).map_err(config)?;
        let all = json!({
            "run": self.identity, "version": env!("CARGO_PKG_VERSION"), "result": result,
        });
        write_text(&path, &format!("{all:#}\n"), true)?;
        Ok(result)
    }

    /// Writes down why it failed. The run can be begun again.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn fail(self, reason: &str) -> Result<(), RunError> {
        let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(write_text(&self.folder.join(ERROR), &(line + "\n"), true)?)
    }
}

/// Identity of a run: the SHA-256 of its configuration as `run.toml` has it.
pub fn identity(configuration: &toml::Table) -> String {
    sha256(&configuration.to_string())
}

fn sha256(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(FileError::Write { path: path.into(), source })
        }
        _ => Ok(()),
    }
}
