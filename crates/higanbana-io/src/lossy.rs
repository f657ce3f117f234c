//! Paths in JSON. A name that is no Unicode is written as its nearest text, so that no report is lost over it.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// For `#[serde(serialize_with)]` of a path.
///
/// # Errors
/// Those of the serializer.
pub fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    path.to_string_lossy().serialize(serializer)
}

/// The same where there may be none.
///
/// # Errors
/// Those of the serializer.
pub fn option<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.to_string_lossy()).serialize(serializer)
}
