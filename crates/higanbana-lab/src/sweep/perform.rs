//! One run of a plan, here and now.

use std::path::Path;

use higanbana_io::run::{Begun, Run, RunError};
use serde_json::Value;

use super::{Planned, generator};
use crate::{
    experiment::{Failure, Lab, Progress},
    panics::caught,
};

/// A run that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Performed {
    /// The result.
    pub result: Value,
    /// Whether it was done already.
    pub before: bool,
}

/// Why a run is not done.
#[derive(Debug, thiserror::Error)]
pub enum PerformError {
    /// Its folder.
    #[error(transparent)]
    Folder(#[from] RunError),
    /// The experiment; the reason is in the folder, too.
    #[error("{run}: {reason}")]
    Failed {
        /// Name of the run.
        run: String,
        /// The reason.
        reason: String,
    },
}

impl Planned {
    /// Performs the run below the folder of all runs, unless that is done. A failure, a panic included,
    /// is written down in its folder. The run has Burn's generator [to itself](crate::experiment#randomness), seeded
    /// by [`Run::seed`]; another of this process waits until it is done.
    ///
    /// # Errors
    /// When it failed, another process works on it, or its folder cannot be used.
    pub fn perform(
        &self,
        lab: &Lab,
        runs: &Path,
        progress: Progress,
    ) -> Result<Performed, PerformError> {
        self.perform_by(runs, |run| {
            generator::alone(&lab.device, run.seed(), || self.answer(lab, run, progress))
        })
    }

    /// The same beside others of this process, for an experiment that leaves Burn's generator alone.
    ///
    /// # Errors
    /// As [`Planned::perform`].
    pub fn perform_beside_others(
        &self,
        lab: &Lab,
        runs: &Path,
        progress: Progress,
    ) -> Result<Performed, PerformError> {
        self.perform_by(runs, |run| self.answer(lab, run, progress))
    }

    fn perform_by(
        &self,
        runs: &Path,
        answer: impl FnOnce(&mut Run) -> Result<Value, Failure>,
    ) -> Result<Performed, PerformError> {
        let mut run = match Run::begin(&self.folder(runs), &self.configuration())? {
            Begun::Done(result) => return Ok(Performed { result, before: true }),
            Begun::Open(run) => run,
        };
        let reason = match caught(|| answer(&mut run)) {
            Ok(Ok(result)) => {
                return Ok(Performed { result: run.finish(&result)?, before: false });
            }
            Ok(Err(failure)) => failure.to_string(),
            Err(panic) => panic,
        };
        run.fail(&reason)?;
        Err(PerformError::Failed { run: self.run.clone(), reason })
    }

    fn answer(&self, lab: &Lab, run: &mut Run, progress: Progress) -> Result<Value, Failure> {
        let kind = lab.experiments.get(&self.experiment)?;
        if kind.resolve(&self.parameters, lab)? != self.parameters {
            return Err("was planned by another version, whose defaults differ; plan again".into());
        }
        kind.run(&self.parameters, lab, run, progress)
    }
}
