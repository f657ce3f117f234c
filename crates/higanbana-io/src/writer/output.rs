//! An output under way: a temporary file beside it until it is complete.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::temporary::Held;
use crate::FileError;

/// An output that is complete under a temporary name beside its place. Dropped, it leaves nothing behind;
/// [`Ledger::write`](crate::ledger::Ledger::write) puts it in its place.
pub struct Output {
    path: PathBuf,
    overwrite: bool,
    temporary: NamedTempFile,
    held: Held,
}

impl Output {
    /// A link is followed: it is the file that it names that is replaced, and only a regular one.
    pub(super) fn new(path: &Path, overwrite: bool) -> Result<Self, FileError> {
        let there = path.symlink_metadata().ok();
        let is_link = there.as_ref().is_some_and(fs::Metadata::is_symlink);
        let target = if is_link { path.canonicalize().ok() } else { Some(path.into()) };
        let target = target.filter(|target| there.is_none() || target.is_file());
        let Some(path) = target.as_deref() else {
            return Err(FileError::NotAFile { path: path.into() });
        };
        if there.is_some() && !overwrite {
            return Err(FileError::Exists { path: path.into() });
        }
        let (temporary, held) = Held::file(folder_of(path)?)
            .map_err(|error| FileError::Write { path: path.into(), source: without_path(error) })?;
        Ok(Self { path: path.into(), overwrite, temporary, held })
    }

    pub(super) fn file(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// The place that it is to take.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is until then.
    pub(crate) fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// Synchronises and renames.
    pub(super) fn commit(self) -> Result<(), FileError> {
        self.synchronise()?;
        self.rename()
    }

    pub(crate) fn synchronise(&self) -> Result<(), FileError> {
        let synchronised = self.temporary.as_file().sync_all();
        synchronised.map_err(|source| FileError::Write { path: self.path.clone(), source })
    }

    pub(crate) fn rename(self) -> Result<(), FileError> {
        let Self { path, overwrite, temporary, held: _held } = self;
        let renamed =
            if overwrite { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
        match renamed.map_err(|e| e.error) {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(FileError::Exists { path }),
            Err(source) => Err(FileError::Write { path, source }),
        }
    }
}

/// Commits outputs that belong together. All are complete on the disk before the first takes its
/// place; where one then cannot, those before it that are new are removed again.
pub(crate) fn commit(outputs: Vec<Output>) -> Result<(), FileError> {
    outputs.iter().try_for_each(Output::synchronise)?;
    let mut new = Vec::new();
    for output in outputs {
        let (path, is_new) = (output.path.clone(), !output.path.exists());
        if let Err(error) = output.rename() {
            // The first failure is the one to tell of.
            new.iter().for_each(|path| drop(fs::remove_file(path)));
            return Err(error);
        }
        new.extend(is_new.then_some(path));
    }
    Ok(())
}

/// Checks that an output could be written at `path`, before work is done for it.
///
/// # Errors
/// When `path` exists and may not be replaced, or its folder is missing or not writable.
pub fn check(path: &Path, overwrite: bool) -> Result<(), FileError> {
    Output::new(path, overwrite).map(drop)
}

/// Writes a small text file as [`super::write`] does a large one: whole or not at all.
///
/// # Errors
/// When `path` exists and may not be replaced, or cannot be written.
pub fn write_text(path: &Path, text: &str, overwrite: bool) -> Result<(), FileError> {
    write_bytes(path, text.as_bytes(), overwrite)
}

/// The same for any small file.
///
/// # Errors
/// As [`write_text`].
pub fn write_bytes(path: &Path, bytes: &[u8], overwrite: bool) -> Result<(), FileError> {
    stage_bytes(path, bytes, overwrite)?.commit()
}

/// [`write_bytes`] up to the last step: the file is complete under its temporary name.
///
/// # Errors
/// As [`write_text`].
pub fn stage_bytes(path: &Path, bytes: &[u8], overwrite: bool) -> Result<Output, FileError> {
    let mut output = Output::new(path, overwrite)?;
    let written = output.file().write_all(bytes);
    written.map_err(|source| FileError::Write { path: path.into(), source })?;
    Ok(output)
}

/// The folder that an output lies in.
pub(super) fn folder_of(path: &Path) -> Result<&Path, FileError> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(FileError::NoFolder { path: path.into(), folder: folder.into() }),
    }
}

/// What the system said, without the temporary name, which tells a user nothing.
pub(super) fn without_path(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((what, _)) => io::Error::new(error.kind(), what),
        None => error,
    }
}
