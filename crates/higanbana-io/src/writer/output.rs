//! An output under way: a temporary file beside it until it is complete.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tempfile::{Builder, NamedTempFile, TempDir};

use crate::FileError;

/// An output under way. Dropped without [`Output::commit`], it leaves nothing behind.
pub(crate) struct Output {
    path: PathBuf,
    overwrite: bool,
    temporary: NamedTempFile,
    listed: Listed,
}

/// Temporary files and folders of this process.
static UNDER_WAY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// One of [`UNDER_WAY`], as long as this lives.
pub(super) struct Listed(PathBuf);

impl Listed {
    /// A new temporary file.
    fn file(folder: &Path) -> io::Result<(NamedTempFile, Self)> {
        Self::new(|| builder(0o666).tempfile_in(folder), NamedTempFile::path)
    }

    /// A new temporary folder.
    pub fn folder(folder: &Path) -> io::Result<(TempDir, Self)> {
        Self::new(|| builder(0o777).tempdir_in(folder), TempDir::path)
    }

    /// It is listed before a signal can ask for the list.
    fn new<T>(
        make: impl FnOnce() -> io::Result<T>,
        path: impl Fn(&T) -> &Path,
    ) -> io::Result<(T, Self)> {
        let mut under_way = under_way();
        let temporary = make()?;
        under_way.insert(path(&temporary).into());
        let listed = Self(path(&temporary).into());
        Ok((temporary, listed))
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        under_way().remove(&self.0);
    }
}

fn under_way() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what is half-written, for a process that ends now: a signal runs no destructor. No output
/// can be begun any more.
pub fn abandon() {
    let under_way = under_way();
    for path in under_way.iter() {
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
    }
    std::mem::forget(under_way);
}

impl Output {
    /// A link is followed: it is the file that it names that is replaced, and only a regular one.
    pub fn new(path: &Path, overwrite: bool) -> Result<Self, FileError> {
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
        let (temporary, listed) = Listed::file(folder_of(path)?)
            .map_err(|error| FileError::Write { path: path.into(), source: without_path(error) })?;
        Ok(Self { path: path.into(), overwrite, temporary, listed })
    }

    pub fn file(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// Synchronises and renames.
    pub fn commit(self) -> Result<(), FileError> {
        self.synchronise()?;
        self.rename()
    }

    fn synchronise(&self) -> Result<(), FileError> {
        let synchronised = self.temporary.as_file().sync_all();
        synchronised.map_err(|source| FileError::Write { path: self.path.clone(), source })
    }

    fn rename(self) -> Result<(), FileError> {
        let Self { path, overwrite, temporary, listed: _listed } = self;
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

/// [`write_bytes`] up to the last step, which is [`commit`].
pub(crate) fn stage_bytes(path: &Path, bytes: &[u8], overwrite: bool) -> Result<Output, FileError> {
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

/// Temporary files are private by default; an output has the permissions of any other new file.
#[cfg(unix)]
fn builder(mode: u32) -> Builder<'static, 'static> {
    use std::os::unix::fs::PermissionsExt;
    let mut builder = Builder::new();
    builder.prefix(".higanbana-").permissions(std::fs::Permissions::from_mode(mode));
    builder
}

#[cfg(not(unix))]
fn builder(_: u32) -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(".higanbana-");
    builder
}
