//! What can go wrong with a model, each in one line that names the file and the remedy.

use std::{fmt, io, path::PathBuf};

use higanbana_io::FileError;

use crate::pipeline::AdapterProblem;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A tensor file is at fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder or a file of a model cannot be read.
    #[error("{}: cannot be read ({source}); is this a model directory as diffusers saves it?", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A configuration is not JSON, or a field has the wrong type or an impossible value.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The configuration.
        path: PathBuf,
        /// Which field, and why.
        reason: String,
    },
    /// A configuration is that of another class.
    #[error("{}: is the configuration of a {found}; {expected} is supported here", path.display())]
    Class {
        /// The configuration.
        path: PathBuf,
        /// The class that it names.
        found: String,
        /// The class that is wanted.
        expected: String,
    },
    /// A configuration has fields that nothing here knows.
    #[error("{}: field {} is unknown; a model that needs it would compute something else", path.display(), fields.join(", "))]
    UnknownFields {
        /// The configuration.
        path: PathBuf,
        /// The fields.
        fields: Vec<String>,
    },
    /// A field asks for something that is not built.
    #[error("{}: field {field} is {found}; only {supported} is supported", path.display())]
    Unsupported {
        /// The configuration.
        path: PathBuf,
        /// The field.
        field: String,
        /// Its value.
        found: String,
        /// What it may be.
        supported: String,
    },
    /// The tensors of the files are not those of the model.
    #[error("{}: {}", path.display(), summary(problems))]
    Keys {
        /// The file, or the folder of several.
        path: PathBuf,
        /// Every tensor that is missing, left over or of another shape.
        problems: Vec<KeyProblem>,
    },
    /// An adapter contradicts itself or the model.
    #[error(transparent)]
    Adapter(Box<AdapterProblem>),
    /// An input of a model does not fit it.
    #[error("{name}: {reason}")]
    Input {
        /// Which input.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ModelError {
    /// An input that does not fit.
    pub fn input(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Input { name: name.into(), reason: reason.into() }
    }
}

/// A tensor that does not fit a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyProblem {
    /// The model has it, the files do not.
    Missing(String),
    /// The files have it, the model does not.
    Extra(String),
    /// Both have it, in different shapes.
    Shape {
        /// The tensor.
        key: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape in the model.
        expected: Vec<usize>,
    },
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(key) => write!(f, "{key} is missing"),
            Self::Extra(key) => write!(f, "{key} is left over"),
            Self::Shape { key, found, expected } => {
                write!(f, "{key} is {found:?} where the model has {expected:?}")
            }
        }
    }
}

/// How many problems are listed before they are only counted.
const LISTED: usize = 5;

fn summary(problems: &[KeyProblem]) -> String {
    let what = match problems {
        [_] => "1 tensor does not fit the model".to_string(),
        _ => format!("{} tensors do not fit the model", problems.len()),
    };
    let listed: Vec<_> = problems.iter().take(LISTED).map(ToString::to_string).collect();
    let more = match problems.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("{what}: {}{more}", listed.join("; "))
}
