//! A folder of outputs under way.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{
    output::{folder_of, without_path},
    temporary::Held,
};
use crate::FileError;

/// A folder under way: a temporary one beside it until it is complete. Dropped without
/// [`Folder::commit`], it leaves nothing behind.
pub struct Folder {
    path: PathBuf,
    temporary: TempDir,
    held: Held,
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
        Self::to_replace(path)
    }

    /// The same where what is there now will have been removed by the time of [`Folder::commit`].
    pub(crate) fn to_replace(path: &Path) -> Result<Self, FileError> {
        let (temporary, held) = Held::folder(folder_of(path)?)
            .map_err(|error| FileError::Write { path: path.into(), source: without_path(error) })?;
        Ok(Self { path: path.into(), temporary, held })
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
        let Self { path, temporary, held: _held } = self;
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
