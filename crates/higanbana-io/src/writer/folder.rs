//! A folder of outputs under way.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::output::{Listed, folder_of, without_path};
use crate::FileError;

/// A folder under way: a temporary one beside it until it is complete. Dropped without
/// [`Folder::commit`], it leaves nothing behind.
pub struct Folder {
    path: PathBuf,
    temporary: TempDir,
    listed: Listed,
}

impl Folder {
    /// A folder that will be at `path`.
    ///
    /// # Errors
    /// When there is something already, or the folder around it is missing or not writable.
    pub fn new(path: &Path) -> Result<Self, FileError> {
        if path.symlink_metadata().is_ok() {
            return Err(FileError::Exists { path: path.into() });
        }
        let (temporary, listed) = Listed::folder(folder_of(path)?)
            .map_err(|error| FileError::Write { path: path.into(), source: without_path(error) })?;
        Ok(Self { path: path.into(), temporary, listed })
    }

    /// Where its files belong until it is complete.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// When there is something by now, or the system refuses.
    pub fn commit(self) -> Result<(), FileError> {
        let Self { path, temporary, listed: _listed } = self;
        if path.symlink_metadata().is_ok() {
            return Err(FileError::Exists { path });
        }
        match fs::rename(temporary.path(), &path) {
            Ok(()) => {
                // It is there no longer.
                let _ = temporary.keep();
                Ok(())
            }
            Err(source) => Err(FileError::Write { path, source }),
        }
    }
}
