//! What can go wrong with a training, in lines that name the file, the key or the step.

use std::path::{Path, PathBuf};

use higanbana_adapters::InjectError;
use higanbana_diffusion::ModelError;
use higanbana_io::{FileError, ledger::LedgerError, run::RunError};

use crate::{ScalingError, data::Problem};

/// An error of a training.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The model, or an image.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A tensor file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder of the run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file there.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The adapters cannot be placed.
    #[error(transparent)]
    Inject(#[from] InjectError),
    /// There is no scaling to another alpha.
    #[error("scale_from: {0}")]
    Scaling(#[from] ScalingError),
    /// The recipe cannot be read, or asks for something that cannot be.
    #[error("{}: {reason}", path.display())]
    Recipe {
        /// The recipe.
        path: PathBuf,
        /// Which key, and why.
        reason: String,
    },
    /// A folder of images cannot be read.
    #[error("{}: {reason}", path.display())]
    Data {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Images or captions cannot be used.
    #[error("{}", summary(.0))]
    Problems(Vec<Problem>),
    /// A checkpoint cannot be gone on from.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A checkpoint is whole and not what was saved.
    #[error(
        "{}: is not as it was written; remove it to go on from the one before, --overwrite begins anew",
        path.display()
    )]
    Changed {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The training diverged.
    #[error(
        "{what} of step {step} is not finite; first at fault: {layer}; the batch is {batch}; \
         {kept}, lower train.rate or raise train.schedule.warmup and begin anew"
    )]
    NotFinite {
        /// `the loss`, or `a gradient`.
        what: &'static str,
        /// The step, from 1.
        step: usize,
        /// The first layer whose numbers are not finite.
        layer: String,
        /// The images of the batch.
        batch: String,
        /// What there is of the run until then.
        kept: String,
    },
    /// It was asked to stop.
    #[error("stopped after step {step} of {of}; go on with --resume")]
    Stopped {
        /// Steps done.
        step: usize,
        /// Steps asked for.
        of: usize,
    },
}

impl TrainError {
    /// The same, of a recipe that is called so.
    #[must_use]
    pub fn of(self, recipe: &Path) -> Self {
        match self {
            Self::Recipe { reason, .. } => Self::recipe(recipe, reason),
            other => other,
        }
    }

    /// A fault of a recipe.
    pub(crate) fn recipe(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Recipe { path: path.into(), reason: reason.into() }
    }
}

/// In one line; the result of a run without them lists them all.
fn summary(problems: &[Problem]) -> String {
    const SHOWN: usize = 10;
    let count = match problems.len() {
        1 => String::new(),
        count => format!("{count} images cannot be used: "),
    };
    let shown: Vec<String> = problems.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = match problems.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("{count}{}{more}; mend them, or leave them out with --skip-bad", shown.join("; "))
}
