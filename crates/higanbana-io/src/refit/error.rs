//! What can go wrong when adapters are fitted, in one line that names file, key and remedy.

use std::path::{Path, PathBuf};

use crate::{ApplyError, Dialect, FileError};

/// An error of this module.
#[derive(Debug, thiserror::Error)]
pub enum RefitError {
    /// A file is at fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// An adapter file, or a base, cannot be computed with.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A module of a file cannot be fitted, or not written.
    #[error("{}: {error}", path.display())]
    Fit {
        /// The file.
        path: PathBuf,
        /// Which, and why not.
        error: FitError,
    },
    /// No algorithm of this name can be fitted to an update.
    #[error("{algorithm} cannot be fitted to an update; choose one of {choices}")]
    NotFittable {
        /// What was asked for.
        algorithm: String,
        /// What can be.
        choices: String,
    },
    /// Two checkpoints have no tensor in common.
    #[error(
        "{} and {} have no weight in common (of {tensors} and {others} tensors); are they checkpoints of one model in one layout?",
        base.display(), tuned.display()
    )]
    NothingInCommon {
        /// One checkpoint.
        base: PathBuf,
        /// How many tensors it has.
        tensors: usize,
        /// The other.
        tuned: PathBuf,
        /// How many it has.
        others: usize,
    },
    /// Two checkpoints differ in nothing that the algorithm could adapt.
    #[error(
        "{} differs from {} in no layer that {algorithm} adapts ({equal} tensors are equal, {others} others differ); there is nothing to extract",
        tuned.display(), base.display()
    )]
    NoDifference {
        /// One checkpoint.
        base: PathBuf,
        /// The other.
        tuned: PathBuf,
        /// The algorithm.
        algorithm: String,
        /// Tensors that are equal.
        equal: usize,
        /// Tensors that differ and are left out.
        others: usize,
    },
    /// A module cannot be had at another rank.
    #[error(
        "{}: module {module:?}: {algorithm} cannot be resized; turn it into one that can with convert --bake",
        path.display()
    )]
    NotResizable {
        /// The adapter file.
        path: PathBuf,
        /// The module.
        module: String,
        /// Its algorithm.
        algorithm: String,
    },
    /// A file has nothing with a rank.
    #[error("{}: none of its modules has a rank; there is nothing to resize", path.display())]
    NoRank {
        /// The adapter file.
        path: PathBuf,
    },
    /// A module's update follows from the base weight.
    #[error(
        "{}: module {module:?}: the update of {algorithm} follows from the base weight; name the base with --base FILE",
        path.display()
    )]
    NeedsBase {
        /// The adapter file.
        path: PathBuf,
        /// The module.
        module: String,
        /// Its algorithm.
        algorithm: String,
    },
    /// A module's tensors do not tell the shape of the layer.
    #[error(
        "{}: module {module:?}: its tensors leave open what layer it is for; name the base with --base FILE",
        path.display()
    )]
    NeedsShape {
        /// The adapter file.
        path: PathBuf,
        /// The module.
        module: String,
    },
    /// A module is none of any known algorithm.
    #[error("{}: module {module:?}: no algorithm has its tensors ({keys})", path.display())]
    Unknown {
        /// The adapter file.
        path: PathBuf,
        /// The module.
        module: String,
        /// Its tensors.
        keys: String,
    },
    /// Files that are to be added up spell their names differently.
    #[error(
        "{}: is in the dialect {dialect}, and {} in {other}; bring both to one with convert --to",
        path.display(), first.display()
    )]
    SeveralDialects {
        /// One adapter file.
        path: PathBuf,
        /// Its dialect.
        dialect: Dialect,
        /// The first one.
        first: PathBuf,
        /// Its dialect.
        other: Dialect,
    },
    /// A layer has an algorithm in one file and another in another.
    #[error(
        "{}: module {module:?}: is {algorithm}, and {other}; bring both to one with convert --bake",
        path.display()
    )]
    SeveralAlgorithms {
        /// One adapter file.
        path: PathBuf,
        /// The module.
        module: String,
        /// Its algorithm.
        algorithm: String,
        /// That in the first file, and which this is.
        other: String,
    },
    /// A layer has a shape in one file and another in another.
    #[error(
        "{}: module {module:?}: is for a layer of shape {shape:?}, and of {other}; they are adapters of \
         different models",
        path.display()
    )]
    SeveralShapes {
        /// One adapter file.
        path: PathBuf,
        /// The module.
        module: String,
        /// Its shape.
        shape: Vec<usize>,
        /// That in the first file, and which this is.
        other: String,
    },
    /// A file has several strengths.
    #[error(
        "{}: is added up with one strength; leave out the te=, unet= and lbw= that differ",
        path.display()
    )]
    SeveralStrengths {
        /// The adapter file.
        path: PathBuf,
    },
    /// Two updates of an algorithm have no sum in it.
    #[error(
        "{}: module {module:?}: {algorithm} cannot be added up; turn it into one that can with convert --bake",
        path.display()
    )]
    NoSum {
        /// The adapter file.
        path: PathBuf,
        /// The module.
        module: String,
        /// Its algorithm.
        algorithm: String,
    },
    /// An algorithm has no place for a part of a module.
    #[error(
        "{}: module {module:?}: {into} has no place for the update of a {part}; bake it into {instead}",
        path.display()
    )]
    NoPlace {
        /// The adapter file.
        path: PathBuf,
        /// The module.
        module: String,
        /// Kind of the parameter.
        part: String,
        /// The algorithm asked for.
        into: String,
        /// One that has.
        instead: String,
    },
}

/// What is wrong with the fit of one module; [`RefitError::Fit`] says in which file.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// The decomposition of its update failed.
    #[error("{module}: cannot be fitted: {reason}")]
    Failed {
        /// The module.
        module: String,
        /// Why not.
        reason: String,
    },
    /// An alpha was asked for.
    #[error("{module}: {algorithm} has no alpha to choose; leave it out")]
    NoAlpha {
        /// The module.
        module: String,
        /// The algorithm.
        algorithm: String,
    },
    /// A fitted value is beyond what the element type of the file holds.
    #[error("{module}: its {key} does not fit into {dtype}; choose a wider type")]
    Overflow {
        /// The module.
        module: String,
        /// The tensor.
        key: String,
        /// The element type.
        dtype: String,
    },
}

impl FitError {
    pub(super) fn failed(module: &str, reason: impl ToString) -> Self {
        Self::Failed { module: module.into(), reason: reason.to_string() }
    }

    /// As said of the file at `path`.
    pub(super) fn of(path: &Path) -> impl Fn(Self) -> RefitError {
        move |error| RefitError::Fit { path: path.into(), error }
    }
}
