//! What can go wrong when an adapter is built or read.

/// A reason why an adapter cannot be. The numbers and names at fault are in the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// The options make no sense, or none for this site.
    #[error("{site}: {reason}")]
    Option {
        /// Path of the site.
        site: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// An option that the algorithm does not have, or a value of the wrong type.
    #[error("options of {algorithm}: {reason}")]
    Config {
        /// Name of the algorithm.
        algorithm: String,
        /// The parser's message.
        reason: String,
    },
    /// The algorithm has no form for this kind of parameter.
    #[error("{site}: {algorithm} does not adapt a {kind}")]
    Unsupported {
        /// Path of the site.
        site: String,
        /// Name of the algorithm.
        algorithm: String,
        /// Kind of the site.
        kind: String,
    },
    /// A tensor of the file is missing.
    #[error("{module}: tensor `{key}` is missing")]
    Missing {
        /// Module name in the file.
        module: String,
        /// Key of the tensor below the module's name.
        key: String,
    },
    /// The file leaves out what follows from the base weight, and the base weight was not given.
    #[error("{module}: part of this adapter is computed from the base weight, give the base model")]
    NeedsBase {
        /// Module name in the file.
        module: String,
    },
    /// A tensor of the file has a shape that fits neither its neighbours nor the base weight.
    #[error("{module}.{key}: shape {found:?} does not fit, expected {expected}")]
    Shape {
        /// Module name in the file.
        module: String,
        /// Key of the tensor below the module's name.
        key: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape that would fit.
        expected: String,
    },
    /// A tensor holds integers: it is quantised, or no tensor of an adapter.
    #[error("{module}.{key}: its values are {dtype}, no floats; save it as F32, F16 or BF16")]
    NotFloat {
        /// Module name in the file.
        module: String,
        /// Key of the tensor below the module's name.
        key: String,
        /// Element type in the file.
        dtype: String,
    },
    /// A tensor holds values that are not numbers.
    #[error(
        "{module}.{key}: value {index} is {value}; the file is damaged or its training diverged"
    )]
    NotFinite {
        /// Module name in the file.
        module: String,
        /// Key of the tensor below the module's name.
        key: String,
        /// Index of the first such value.
        index: usize,
        /// `NaN` or `inf`.
        value: String,
    },
    /// A decomposition of the base weight failed.
    #[error("{site}: {reason}")]
    Numeric {
        /// Path of the site.
        site: String,
        /// Message of the decomposition.
        reason: String,
    },
}

impl AdapterError {
    /// An [`AdapterError::Option`] for `site`.
    pub fn option(site: &crate::Site, reason: impl Into<String>) -> Self {
        Self::Option { site: site.path.clone(), reason: reason.into() }
    }

    /// An [`AdapterError::Numeric`] for `site`.
    pub fn numeric(site: &crate::Site, reason: impl ToString) -> Self {
        Self::Numeric { site: site.path.clone(), reason: reason.to_string() }
    }
}
