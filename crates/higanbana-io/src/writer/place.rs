//! The place of an output: a temporary file beside it until it is complete.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::FileError;

/// An output under way. Dropped without [`Place::commit`], it leaves nothing behind.
pub(super) struct Place {
    path: PathBuf,
    overwrite: bool,
    temporary: NamedTempFile,
}

impl Place {
    pub fn new(path: &Path, overwrite: bool) -> Result<Self, FileError> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            return Err(FileError::NoFolder { path: path.into(), folder: folder.into() });
        }
        if path.is_dir() {
            return Err(FileError::NotAFile { path: path.into() });
        }
        if !overwrite && path.symlink_metadata().is_ok() {
            return Err(FileError::Exists { path: path.into() });
        }
        let temporary = builder()
            .tempfile_in(folder)
            .map_err(|source| FileError::Write { path: path.into(), source })?;
        Ok(Self { path: path.into(), overwrite, temporary })
    }

    pub fn file(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// Synchronises and renames.
    pub fn commit(self) -> Result<(), FileError> {
        let Self { path, overwrite, temporary } = self;
        if let Err(source) = temporary.as_file().sync_all() {
            return Err(FileError::Write { path, source });
        }
        let renamed = match overwrite {
            true => temporary.persist(&path),
            false => temporary.persist_noclobber(&path),
        };
        match renamed.map_err(|e| e.error) {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(FileError::Exists { path }),
            Err(source) => Err(FileError::Write { path, source }),
        }
    }
}

/// Checks that an output could be written at `path`, before work is done for it.
///
/// # Errors
///
/// When `path` exists and may not be replaced, or its folder is missing or not writable.
pub fn check(path: &Path, overwrite: bool) -> Result<(), FileError> {
    Place::new(path, overwrite).map(drop)
}

/// Writes a small text file as [`super::write`] does a large one: whole or not at all.
///
/// # Errors
///
/// When `path` exists and may not be replaced, or cannot be written.
pub fn write_text(path: &Path, text: &str, overwrite: bool) -> Result<(), FileError> {
    write_bytes(path, text.as_bytes(), overwrite)
}

/// The same for any small file.
///
/// # Errors
///
/// As [`write_text`].
pub fn write_bytes(path: &Path, bytes: &[u8], overwrite: bool) -> Result<(), FileError> {
    let mut place = Place::new(path, overwrite)?;
    place
        .file()
        .write_all(bytes)
        .map_err(|source| FileError::Write { path: path.into(), source })?;
    place.commit()
}

/// Temporary files are private by default; an output has the permissions of any other new file.
#[cfg(unix)]
fn builder() -> Builder<'static, 'static> {
    use std::os::unix::fs::PermissionsExt;
    let mut builder = Builder::new();
    builder.prefix(".higanbana-").permissions(std::fs::Permissions::from_mode(0o666));
    builder
}

#[cfg(not(unix))]
fn builder() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(".higanbana-");
    builder
}
