//! Why a name means no one layer of a base.

use super::Component;

/// What is wrong with a module's name; [`FileError::Name`](crate::FileError::Name) says in which file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It answers to two parameters of the base.
    #[error("could be {first:?} or {second:?} of the base; rename it")]
    Ambiguous {
        /// One parameter.
        first: String,
        /// The other.
        second: String,
    },
    /// It answers to none.
    #[error("{}not in the base{}", if *is_told { "" } else { "begins with no known prefix, " }, list(nearest))]
    Unmatched {
        /// Whether it begins as names of adapter files do.
        is_told: bool,
        /// The most similar names there are, where they were looked for.
        nearest: Vec<String>,
    },
    /// It is a name of a model that the base lacks.
    #[error("of the {component}, which the base lacks (give one that has it)")]
    Elsewhere {
        /// The model.
        component: Component,
    },
}

fn list(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!("; nearest: {}", names.join(", ")),
    }
}
