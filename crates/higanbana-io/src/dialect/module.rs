//! A module on its way into a dialect that holds some algorithms only.

use std::path::Path;

use higanbana_core::Arguments;

use super::{Dialect, Tensors};
use crate::{FileError, cast, names::PEFT};

/// A module of a file, and what the dialect calls it.
pub(super) struct Module<'a> {
    pub file: &'a Path,
    pub arguments: &'a Arguments,
    pub own: &'a str,
    pub name: &'a str,
    pub tensors: &'a Tensors,
    pub to: Dialect,
}

impl<'a> Module<'a> {
    /// Its path within the model.
    pub fn path(&self) -> &'a str {
        self.name.strip_prefix(PEFT).unwrap_or(self.name)
    }

    /// Says what the dialect has no place for.
    pub fn cannot_hold(&self, what: impl Into<String>) -> FileError {
        FileError::CannotHold {
            path: self.file.into(),
            module: self.own.into(),
            what: what.into(),
            dialect: self.to.name(),
        }
    }

    /// Refuses tensors other than these, and `alpha`.
    pub fn expect_only(&self, known: &[&str]) -> Result<(), FileError> {
        let is_known = |suffix: &str| suffix == "alpha" || known.contains(&suffix);
        match self.tensors.keys().find(|suffix| !is_known(suffix)) {
            None => Ok(()),
            Some(other) => Err(self.cannot_hold(other)),
        }
    }

    /// The sizes of a tensor; none of a tensor that is not there.
    pub fn shape(&self, key: &str) -> &'a [usize] {
        self.tensors.get(key).map_or(&[], |data| data.shape().as_slice())
    }

    /// Its alpha; one that is missing or 0 means the rank.
    pub fn alpha(&self, rank: usize) -> Result<f64, FileError> {
        let alpha = match self.tensors.get("alpha") {
            Some(alpha) => cast::to_f64(self.file, "alpha", alpha)?.first().copied(),
            None => None,
        };
        Ok(alpha.filter(|alpha| *alpha != 0.0).unwrap_or(rank as f64))
    }
}
