//! The ledger of a folder: which of the files there are ours.
//!
//! A command that fills a folder with names of its own choosing may be given one that holds the files of
//! others. It replaces and removes what it wrote, and nothing else; the ledger, [`LEDGER`] in that folder,
//! is how it knows. A line of JSON puts down a name and how its file is recognised; a line that begins with
//! `-` strikes one out:
//!
//! ```text
//! "checkpoints/"                                              a folder
//! {"file":"result.json","bytes":61,"sha256":"0b0a…"}          a file
//! {"file":"metrics.jsonl","begins":"{\"step\":1,\"loss\":0.5}\n"}  a file that grows
//! "result.json"                                               a file, as earlier versions put it down
//! ```
//!
//! A file is put down, synchronised, when it is complete under a temporary name and *before* it takes its
//! place: whenever a process is killed, all that it wrote is listed. Where it replaces another of ours, either
//! of the two is ours from then on. What somebody put in the place of a listed file, or changed in it, is not
//! as it was put down and is not ours, nor is what stands where a file of ours was removed. Of a line of an
//! earlier version only the name is known, and whatever file stands there counts as ours.
//!
//! A file that grows, to which a run appends, is recognised by its first line, and by all of it when it is
//! complete.
//!
//! Whatever else stands where a command would write, links included, is refused before anything begins
//! ([`Ledger::check`]) and again at the moment of writing. Folders are removed only when they are empty.
//!
//! The ledger is also the claim on the folder: an exclusive lock that lasts as long as the [`Ledger`]. The
//! system releases it when the process ends, however it ends: the claim of one that was killed needs no
//! clean-up, no clock and no guess. Network file systems pass such locks on (NFS does since Linux 2.6.12;
//! Lustre where it is mounted with `flock`); where there are none, [`Ledger::claim`] says so.

mod content;
mod error;
mod files;
mod foreign;
mod lines;
mod names;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::{FileError, writer};
pub use error::LedgerError;
use names::{HEADER, Listed, Stands};

/// Name of the file.
pub const LEDGER: &str = "higanbana.ledger";

/// The ledger of a folder, and the claim on it.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    file: File,
    /// Bytes of its whole lines.
    length: u64,
    /// What they come to.
    listed: Listed,
}

impl Ledger {
    /// That a command may write these names, before it does any work: what stands there is listed and as it
    /// was written, or nothing does. A name that ends in `/` is a folder to write into; one that ends in `*` stands for all
    /// names that begin so, and for everything below them. Nothing is written, not even the folder.
    ///
    /// # Errors
    /// Naming the first thing that stands there and is not.
    pub fn check(folder: &Path, names: &[&str]) -> Result<(), LedgerError> {
        let listed = names::read(folder)?.unwrap_or_default();
        foreign::refuse(folder, &listed, names)
    }

    /// Whether a folder has one.
    ///
    /// # Errors
    /// When what is called so is none.
    pub fn is_in(folder: &Path) -> Result<bool, LedgerError> {
        Ok(names::read(folder)?.is_some())
    }

    /// The first file, among the listed ones whose names are `of` some kind, that is there and not as it was
    /// written.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn changed(
        folder: &Path,
        of: impl Fn(&str) -> bool,
    ) -> Result<Option<PathBuf>, LedgerError> {
        let listed = names::read(folder)?.unwrap_or_default();
        for name in listed.keys().filter(|name| of(name)) {
            match foreign::is_own(folder, &listed, name) {
                Err(LedgerError::Changed { path } | LedgerError::Foreign { path }) => {
                    return Ok(Some(path));
                }
                other => drop(other?),
            }
        }
        Ok(None)
    }

    /// Whether another process has the claim on a folder.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn is_claimed(folder: &Path) -> Result<bool, LedgerError> {
        let path = folder.join(LEDGER);
        match File::open(&path) {
            Ok(file) => Ok(!try_lock(&path, file.try_lock_shared())?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(FileError::Open { path, source }.into()),
        }
    }

    /// Claims a folder, which is made where it is missing, and removes what dead processes left there
    /// half-written.
    ///
    /// # Errors
    /// When another process has the claim, or files cannot be read or written.
    pub fn claim(folder: &Path) -> Result<Self, LedgerError> {
        // What is called so and is none is not touched.
        names::read(folder)?;
        let path = folder.join(LEDGER);
        let failed = |source| FileError::Write { path: path.clone(), source };
        fs::create_dir_all(folder)
            .map_err(|source| FileError::Write { path: folder.into(), source })?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let mut file = file.map_err(failed)?;
        lock(folder, &path, &file)?;
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(failed)?;
        let (listed, length) = names::parse(&path, &bytes)?;
        if length < bytes.len() {
            file.set_len(length as u64).map_err(failed)?;
        }
        let mut ledger = Self { folder: folder.into(), file, length: length as u64, listed };
        if length == 0 {
            ledger.append(HEADER)?;
        }
        ledger.tidy();
        Ok(ledger)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a file of ours is there, as it was written.
    pub fn has(&self, name: &str) -> bool {
        self.is_own(name).is_ok_and(|there| there)
    }

    /// The listed names that begin so and at which a file stands, also one that was changed, in their order.
    pub fn files(&self, start: &str) -> Vec<String> {
        let of = |name: &&String| name.starts_with(start) && !name.ends_with('/');
        let is_there = |name: &&String| {
            Stands::at(&self.folder.join(name)).is_ok_and(|stands| stands == Stands::File)
        };
        self.listed.keys().filter(of).filter(is_there).cloned().collect()
    }

    /// [`Ledger::check`] for the one who has the claim.
    ///
    /// # Errors
    /// As there.
    pub fn allow(&self, names: &[&str]) -> Result<(), LedgerError> {
        foreign::refuse(&self.folder, &self.listed, names)
    }

    /// Removes what dead processes left half-written.
    fn tidy(&self) {
        writer::tidy_claimed(&self.folder);
        let folders = self.listed.keys().filter(|name| name.ends_with('/'));
        for name in folders.filter(|name| self.has(name)) {
            writer::tidy_claimed(&self.folder.join(name));
        }
    }

    /// Whether what stands at a name is ours; nothing may stand there, too.
    fn is_own(&self, name: &str) -> Result<bool, LedgerError> {
        foreign::is_own(&self.folder, &self.listed, name)
    }
}

/// Takes the lock.
fn lock(folder: &Path, path: &Path, file: &File) -> Result<(), LedgerError> {
    // Who asks whether a run is under way holds it for a moment.
    for _ in 0..4 {
        if try_lock(path, file.try_lock())? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(LedgerError::Claimed { folder: folder.into() })
}

/// Whether the lock was had.
fn try_lock(path: &Path, locked: Result<(), TryLockError>) -> Result<bool, LedgerError> {
    match locked {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(LedgerError::NoLock { path: path.into(), source }),
    }
}
