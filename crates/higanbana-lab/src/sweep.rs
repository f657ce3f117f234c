//! Sweeps: many runs of one experiment, planned, performed anywhere, collected.
//!
//! ```text
//! experiment.toml --plan--> plan.jsonl --perform, index by index--> runs/NAME/result.json --collect--> table
//! ```
//!
//! The contract is files and one number. A [`Plan`] is a list of fully resolved runs, one a line, for a
//! person to review; index $K$ of it is performed by any process on any machine that shares the folder,
//! any number of times: a run that is done is not run again. So a cluster's own engine (an array of Slurm
//! or HyperQueue, GNU parallel) is all the engine there is.
//!
//! The folder of a run is called after the [identity](run::identity) of its configuration: plans that
//! overlap share their runs, and a changed run is another run.

mod collect;
mod expand;
mod generator;
mod perform;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
};

use higanbana_io::run::{self, RunError, State};
use serde::{Deserialize, Serialize};

use crate::experiment::{Experiment, Failure, Lab};
pub use collect::{Row, collect, csv, json};
pub use perform::{PerformError, Performed};

/// Version of the lines of a plan.
const VERSION: u32 = 1;

/// Runs in the order of their indices.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The runs; never none.
    pub runs: Vec<Planned>,
}

/// One run: a line of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// Version of the format.
    plan: u32,
    /// Its place in the plan, from 0.
    pub index: usize,
    /// Name of the run and of its folder: experiment, values on the axes, identity.
    pub run: String,
    /// Name of the experiment.
    pub experiment: String,
    /// All of its parameters.
    pub parameters: toml::Table,
}

/// What is wrong with a plan or the file that it is made from.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct PlanError {
    /// The file, and the line where there is one.
    place: String,
    /// Why, and what to do.
    reason: String,
}

impl PlanError {
    fn new(place: impl ToString, reason: impl Into<String>) -> Self {
        Self { place: place.to_string(), reason: reason.into() }
    }
}

impl Plan {
    /// The plan that `text` describes, every run of it resolved; `place` names it in messages.
    ///
    /// ```toml
    /// experiment = "fit"
    ///
    /// [parameters]          # of every run; what is left out has its default
    /// steps = 200
    ///
    /// [axes]                # one run for each combination: the last axis of the alphabet varies fastest
    /// adapter = ["lora", "loha"]
    /// options.rank = [2, 4]
    /// seed = [0, 1, 2]
    /// ```
    ///
    /// Several grids, one below the other, are several `[[axes]]`.
    ///
    /// # Errors
    /// When the text is no such description, an axis is no array or empty, two runs are the same, or the
    /// experiment refuses a run.
    pub fn expand(place: &str, text: &str, lab: &Lab) -> Result<Self, PlanError> {
        expand::plan(text, lab).map_err(|reason| PlanError::new(place, reason))
    }

    /// The plan of these runs, each with all of its parameters.
    ///
    /// # Errors
    /// When parameters are not representable.
    pub fn of<E: Experiment>(runs: &[E::Parameters]) -> Result<Self, Failure> {
        let planned = |(index, parameters)| {
            Ok(Planned::new(index, E::NAME, E::NAME, toml::Table::try_from(parameters)?))
        };
        Ok(Self { runs: runs.iter().enumerate().map(planned).collect::<Result<_, Failure>>()? })
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// When it is not there, was cut off or edited, or another version has written it.
    pub fn read(path: &Path) -> Result<Self, PlanError> {
        let error = |reason: String| PlanError::new(path.display(), reason);
        let text = fs::read_to_string(path)
            .map_err(|e| error(format!("cannot be read ({e}); check the path")))?;
        let runs = text.lines().enumerate().map(|(index, line)| {
            let whole = text.ends_with('\n') || index + 1 < text.lines().count();
            let run = if whole { Planned::parse(index, line) } else { Err(HALF.into()) };
            run.map_err(|reason| error(format!("line {}: {reason}", index + 1)))
        });
        let runs = runs.collect::<Result<Vec<_>, _>>()?;
        if runs.is_empty() { Err(error("plans no run".into())) } else { Ok(Self { runs }) }
    }

    /// The plan as a file.
    pub fn text(&self) -> String {
        let line = |run| serde_json::to_string(run).expect("checked when it was made") + "\n";
        self.runs.iter().map(line).collect()
    }
}

const HALF: &str = "is half-written; plan again";

impl Planned {
    fn new(index: usize, label: &str, experiment: &str, parameters: toml::Table) -> Self {
        let mut run = Self {
            plan: VERSION,
            index,
            run: String::new(),
            experiment: experiment.into(),
            parameters,
        };
        run.run = format!("{label}-{}", run.mark());
        run
    }

    fn parse(index: usize, line: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            plan: u32,
        }
        match serde_json::from_str(line) {
            Ok(Versioned { plan: VERSION }) => (),
            Ok(Versioned { plan }) => {
                return Err(format!("is of version {plan}, {VERSION} is read here; plan again"));
            }
            Err(error) if error.is_eof() => return Err(HALF.into()),
            Err(error) => return Err(format!("is no run of a plan ({error})")),
        }
        let run: Self =
            serde_json::from_str(line).map_err(|error| format!("is no run of a plan ({error})"))?;
        if run.index != index {
            return Err(format!("has index {}, not {index}; plan again", run.index));
        }
        if !run.run.ends_with(&run.mark()) || run.run.contains(['/', '\\']) {
            return Err("was edited; edit what it was planned from, and plan again".into());
        }
        Ok(run)
    }

    /// What identifies it: `run.toml` of its folder.
    pub fn configuration(&self) -> toml::Table {
        toml::Table::from_iter([
            ("experiment".to_string(), self.experiment.clone().into()),
            ("parameters".to_string(), self.parameters.clone().into()),
        ])
    }

    /// Its folder below that of all runs.
    pub fn folder(&self, runs: &Path) -> PathBuf {
        runs.join(&self.run)
    }

    /// How it stands.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub fn state(&self, runs: &Path) -> Result<State, RunError> {
        State::of(&self.folder(runs), &self.identity())
    }

    fn identity(&self) -> String {
        run::identity(&self.configuration())
    }

    /// The beginning of its identity.
    fn mark(&self) -> String {
        self.identity()[..10].into()
    }
}
