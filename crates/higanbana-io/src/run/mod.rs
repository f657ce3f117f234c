//! A run: a folder that holds what was asked for, what was measured on the way, and the answer.
//!
//! ```text
//! run.toml          the resolved configuration; the SHA-256 of this file is the identity of the run
//! metrics.jsonl     a JSON object a line, appended as the run goes on
//! checkpoints/      what a run that was killed goes on from
//! error.txt         why the last attempt failed, in one line
//! result.json       {"run": identity, "version": of the toolkit, "result": ...}: written last, by rename
//! higanbana.ledger  which of the files there are the run's own
//! ```
//!
//! `result.json` is the done flag. A run is *identified* by its configuration and not by its folder: a
//! folder of another configuration is refused, naming the key that differs, and never taken for done. Nor is
//! one in which the result, or what the run made besides, is not as the run wrote it.
//!
//! What a run writes, its [`Ledger`] lists, which is also the claim on it: no two processes work on a run. A
//! folder may hold files of others; a run that would have to replace one is refused.
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

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    FileError,
    ledger::{LEDGER, Ledger},
};
pub use error::RunError;
use metrics::Metrics;
pub use state::State;

const CONFIGURATION: &str = "run.toml";
const METRICS: &str = "metrics.jsonl";
const ERROR: &str = "error.txt";
const RESULT: &str = "result.json";
const CHECKPOINTS: &str = "checkpoints/";

/// What every run may write.
const NAMES: [&str; 5] = [CONFIGURATION, METRICS, ERROR, RESULT, CHECKPOINTS];

/// A run under way in this process. Dropped without [`Run::finish`] or [`Run::fail`], it is interrupted.
#[derive(Debug)]
pub struct Run {
    identity: String,
    ledger: Ledger,
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
    /// That a run may use a folder, before it does any work: of what it would write there, these names
    /// beside its own, as [`Ledger::check`] has them, nothing is another's.
    ///
    /// # Errors
    /// Naming the first thing that is.
    pub fn check(folder: &Path, names: &[String]) -> Result<(), RunError> {
        let names = names.iter().map(String::as_str);
        Ok(Ledger::check(folder, &NAMES.into_iter().chain(names).collect::<Vec<_>>())?)
    }

    /// The files and folders that these names, beside a run's own, come to in `folder`.
    pub fn targets(folder: &Path, names: &[String]) -> Vec<PathBuf> {
        let names = NAMES.into_iter().chain([LEDGER]).chain(names.iter().map(String::as_str));
        let first = |name: &str| folder.join(name.split(['/', '*']).next().unwrap_or_default());
        names.map(first).collect()
    }

    /// The result of the run of this configuration in `folder`, if it is done.
    ///
    /// # Errors
    /// When the result there is that of another configuration, or none, or a file of the run was changed.
    pub fn result(folder: &Path, configuration: &toml::Table) -> Result<Option<Value>, RunError> {
        state::result(folder, &identity(configuration))
    }

    /// Claims the run of this configuration in `folder`, which is made where it is missing.
    ///
    /// One that was killed goes on from its checkpoints, its metrics cut back to whole lines. Without
    /// checkpoints there is nothing to go on from, and the metrics begin anew.
    ///
    /// # Errors
    /// When the folder holds another configuration or what no run wrote, another process has the claim, or
    /// files cannot be read or written.
    pub fn begin(folder: &Path, configuration: &toml::Table) -> Result<Begun, RunError> {
        let text = configuration.to_string();
        let identity = sha256(&text);
        // A finished run is never written to: its folder may be read-only.
        if let Some(result) = state::result(folder, &identity)? {
            return Ok(Begun::Done(result));
        }
        let ledger = claim(folder)?;
        // The one who had the claim until now may have finished.
        if let Some(result) = state::result(folder, &identity)? {
            return Ok(Begun::Done(result));
        }
        match state::read(&folder.join(CONFIGURATION))? {
            Some(found) if found != text => Err(RunError::changed(folder, &found, configuration)),
            _ => Ok(Begun::Open(Self::open(ledger, &text)?)),
        }
    }

    /// As [`Run::begin`], but what the folder holds of an earlier run, whatever its configuration and
    /// even if it is done, goes first; what other things that run made, such as an adapter, stay.
    ///
    /// # Errors
    /// When the folder holds what no run wrote, another process has the claim, or files cannot be read or
    /// written.
    pub fn begin_anew(folder: &Path, configuration: &toml::Table) -> Result<Self, RunError> {
        let mut ledger = claim(folder)?;
        // Nothing is removed where something must stay.
        let checkpoints = ledger.files(CHECKPOINTS);
        ledger.allow(&checkpoints.iter().map(String::as_str).collect::<Vec<_>>())?;
        // The done flag first: a half-removed run is not done.
        for name in [RESULT, CONFIGURATION, CHECKPOINTS] {
            ledger.remove(name)?;
        }
        Self::open(ledger, &configuration.to_string())
    }

    /// Whether the run in `folder` is the one of a configuration but for its end: the same values, except for
    /// numbers at these dotted keys, of which none is smaller. One that cannot be read is told of where it is
    /// begun.
    pub fn extends(folder: &Path, configuration: &toml::Table, keys: &[&str]) -> bool {
        let found = state::read(&folder.join(CONFIGURATION)).ok().flatten();
        let found = found.and_then(|text| text.parse::<toml::Table>().ok());
        found.is_some_and(|found| state::is_longer(configuration, &found, keys))
    }

    /// Lets the run in `folder` go on to the end of a configuration that [extends](Self::extends) it: it is
    /// not done any more.
    ///
    /// # Errors
    /// When the folder holds what no run wrote, another process has the claim, or files cannot be written.
    pub fn extend(folder: &Path, configuration: &toml::Table) -> Result<(), RunError> {
        let mut ledger = claim(folder)?;
        // The done flag first: killed between the two, it is the run of before, which is not done.
        ledger.remove(RESULT)?;
        write(&mut ledger, CONFIGURATION, &configuration.to_string())
    }

    fn open(mut ledger: Ledger, text: &str) -> Result<Self, RunError> {
        if !ledger.has(CONFIGURATION) {
            write(&mut ledger, CONFIGURATION, text)?;
        }
        ledger.remove(ERROR)?;
        let metrics = Metrics::open(&mut ledger)?;
        let mut run = Self { identity: sha256(text), ledger, metrics };
        match run.ledger.files(CHECKPOINTS).is_empty() {
            true => run.rewind(0)?,
            false => run.metrics.cut()?,
        }
        Ok(run)
    }

    /// Whether a folder is that of the checkpoints of a run.
    pub fn is_checkpoints(folder: &Path) -> bool {
        let Some(run) = folder.parent() else { return false };
        folder.ends_with(CHECKPOINTS)
            && [LEDGER, CONFIGURATION].iter().any(|it| run.join(it).exists())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.ledger.folder()
    }

    /// A seed that follows from the configuration, and so is the run's own: the same whenever and wherever it is
    /// performed, and another for other parameters.
    pub fn seed(&self) -> u64 {
        let beginning = self.identity.get(..16).unwrap_or_default();
        u64::from_str_radix(beginning, 16).unwrap_or_default()
    }

    /// The folder of what a run that was killed goes on from, whether it is there or not.
    pub fn checkpoints(&self) -> PathBuf {
        self.folder().join(CHECKPOINTS.trim_end_matches('/'))
    }

    /// The files of the run: whatever it writes beside its metrics and its result, it writes so.
    pub fn files(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Appends a line of metrics. Numbers that JSON lacks, NaN and infinities, become `null`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record(&mut self, line: &impl Serialize) -> Result<(), RunError> {
        self.metrics.append(&mut self.ledger, line)
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
    pub fn finish(mut self, result: &impl Serialize) -> Result<Value, RunError> {
        let path = self.folder().join(RESULT);
        let config = |error: serde_json::Error| FileError::Config {
            path: path.clone(),
            reason: error.to_string(),
        };
        let result = serde_json::to_value(result).map_err(config)?;
        let all = json!({
            "run": self.identity, "version": env!("CARGO_PKG_VERSION"), "result": result,
        });
        self.metrics.end(&mut self.ledger)?;
        write(&mut self.ledger, RESULT, &format!("{all:#}\n"))?;
        Ok(result)
    }

    /// Writes down why it failed. The run can be begun again.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn fail(mut self, reason: &str) -> Result<(), RunError> {
        let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        write(&mut self.ledger, ERROR, &(line + "\n"))
    }
}

/// Identity of a run: the SHA-256 of its configuration as `run.toml` has it.
pub fn identity(configuration: &toml::Table) -> String {
    sha256(&configuration.to_string())
}

fn sha256(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}

/// The claim on a folder in which nothing stands in a run's way.
fn claim(folder: &Path) -> Result<Ledger, RunError> {
    Ledger::check(folder, &NAMES)?;
    let ledger = Ledger::claim(folder)?;
    // Others may have written there since.
    ledger.allow(&NAMES)?;
    Ok(ledger)
}

fn write(ledger: &mut Ledger, name: &str, text: &str) -> Result<(), RunError> {
    Ok(ledger.write_bytes(name, text.as_bytes())?)
}
