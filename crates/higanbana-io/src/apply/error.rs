//! What can go wrong when an adapter file meets a base, in one line that names file, key and remedy.

use std::path::{Path, PathBuf};

use burn::tensor::DType;
use higanbana_core::AdapterError;

use crate::FileError;

/// An error of this module.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A file is at fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// A module of an adapter file is.
    #[error("{}: {reason}{}", path.display(), remedy(reason))]
    Adapter {
        /// The adapter file.
        path: PathBuf,
        /// What is wrong with which of its tensors.
        reason: AdapterError,
    },
    /// A module does not fit its layer, and there is a choice.
    #[error("{}: {reason}{}{}", path.display(), remedy(reason), choice(reason))]
    Unfit {
        /// The adapter file.
        path: PathBuf,
        /// What is wrong with which of its tensors.
        reason: Box<AdapterError>,
    },
    /// A tensor of the base cannot be adapted.
    #[error("{}: tensor {key:?} cannot be adapted: {reason}", path.display())]
    Base {
        /// The base.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// Why not.
        reason: String,
    },
    /// Two modules of one file are the same layer.
    #[error(
        "{}: its modules {first:?} and {second:?} both adapt {key:?} of the base; remove one of them",
        path.display()
    )]
    Twice {
        /// The adapter file.
        path: PathBuf,
        /// The tensor of the base.
        key: String,
        /// One module.
        first: String,
        /// The other.
        second: String,
    },
    /// No module of a file belongs to the base.
    #[error(
        "{}: {} {base}: {example}; is this the model that it was made for?",
        path.display(), none_of(*modules)
    )]
    OtherModel {
        /// The adapter file.
        path: PathBuf,
        /// The model.
        base: String,
        /// How many modules the file has.
        modules: usize,
        /// What is wrong with the first of them.
        example: String,
    },
    /// The strength says nothing of a module.
    #[error("{}: module {module:?} {reason}", path.display())]
    Strength {
        /// The adapter file.
        path: PathBuf,
        /// The module.
        module: String,
        /// Which block it is in.
        reason: String,
    },
    /// The merged weight is too large for the base's element type, or not a number.
    #[error(
        "{}: module {module:?} at strength {strength} makes {key:?} of the base {value} at element {index}; merge with less strength, or {instead}",
        path.display()
    )]
    Overflow {
        /// The adapter file.
        path: PathBuf,
        /// The module that adds most there.
        module: String,
        /// Its strength.
        strength: f64,
        /// The tensor of the base.
        key: String,
        /// What else helps.
        instead: &'static str,
        /// The first such element.
        index: usize,
        /// Its value.
        value: f64,
    },
}

impl ApplyError {
    pub(crate) fn adapter(path: &Path) -> impl Fn(AdapterError) -> Self {
        move |reason| Self::Adapter { path: path.into(), reason }
    }

    pub(crate) fn base(path: &Path, key: &str, reason: impl Into<String>) -> Self {
        Self::Base { path: path.into(), key: key.into(), reason: reason.into() }
    }
}

/// What helps, besides less strength, against values that a base's element type does not hold.
pub(super) fn instead(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 | DType::BF16 => "into a base saved as F32",
        _ => "take a file of an earlier step of its training",
    }
}

fn none_of(modules: usize) -> String {
    if modules == 1 {
        "its only module does not fit".into()
    } else {
        format!("none of its {modules} modules fits")
    }
}

fn remedy(reason: &AdapterError) -> &'static str {
    match reason {
        AdapterError::Missing { .. } => "; the file is incomplete, save or download it again",
        AdapterError::Shape { .. } => "; the file is damaged or made for another model",
        _ => "",
    }
}

fn choice(reason: &AdapterError) -> String {
    let AdapterError::Shape { module, found, .. } = reason else { return String::new() };
    let pad = if found.len() > 2 { ", --pad where the base has more input channels" } else { "" };
    format!("; --leave-out {module} goes on without it{pad}")
}
