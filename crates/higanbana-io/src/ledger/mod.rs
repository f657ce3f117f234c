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
mod foreign;
mod names;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::{
    FileError,
    writer::{self, Output},
};
use content::Content;
pub use error::LedgerError;
use names::{HEADER, Listed, Stands, folders};

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

    /// Writes a file, making the folders that its name leads through. `stage` gets its path, and whether it
    /// replaces one that is ours already, and gives the file as it is to be, which then takes its place.
    ///
    /// # Errors
    /// When something stands there that is not listed or was changed, and those of `stage`.
    pub fn write<E: From<LedgerError>>(
        &mut self,
        name: &str,
        stage: impl FnOnce(&Path, bool) -> Result<Output, E>,
    ) -> Result<(), E> {
        for within in folders(name).map(String::from).collect::<Vec<_>>() {
            self.make(&within)?;
        }
        let replaces = self.is_own(name)?;
        let output = stage(&self.folder.join(name), replaces)?;
        Ok(self.place(name, output, replaces)?)
    }

    /// [`Self::write`] for a small file.
    ///
    /// # Errors
    /// As there, and when it cannot be written.
    pub fn write_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), LedgerError> {
        self.write(name, |path, replaces| Ok(writer::stage_bytes(path, bytes, replaces)?))
    }

    /// Opens a file to append to, which is made where it is missing. Before anything is appended to an empty
    /// one, [`Self::begins`] is to be told.
    ///
    /// # Errors
    /// When something stands there that is not listed or was changed, or it cannot be opened.
    pub fn open(&mut self, name: &str) -> Result<File, LedgerError> {
        let path = self.folder.join(name);
        let content = match self.is_own(name)? {
            true => Content::begun(&path)?,
            false => Content::begins(""),
        };
        self.enter([(name.to_string(), content)])?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path);
        Ok(file.map_err(|source| FileError::Write { path, source })?)
    }

    /// Puts down the first line of a file that grows.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn begins(&mut self, name: &str, line: &str) -> Result<(), LedgerError> {
        self.enter([(name.to_string(), Content::begins(line))])
    }

    /// Puts down all of a file that grew and is complete.
    ///
    /// # Errors
    /// When it cannot be read, or the ledger not be written.
    pub fn ends(&mut self, name: &str) -> Result<(), LedgerError> {
        let path = self.folder.join(name);
        self.enter([(name.to_string(), Content::of(&path, &path)?)])
    }

    /// Writes a folder whole or not at all, in the place of one that is ours. `fill` gets the path of an
    /// empty one to fill.
    ///
    /// # Errors
    /// When something stands there that is not listed, or within it, and those of `fill`.
    pub fn write_folder<E: From<LedgerError> + From<FileError>>(
        &mut self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let (within, all) = (format!("{name}/"), format!("{name}/*"));
        self.allow(&[&within, &all])?;
        let output = writer::Folder::to_replace(&self.folder.join(name))?;
        fill(output.path())?;
        let mut entries = vec![(within.clone(), Content::Any)];
        list(output.path(), &within, &mut entries)?;
        self.allow(&[&within, &all])?;
        self.remove(&within)?;
        let names: Vec<String> = entries.iter().map(|(name, _)| name.clone()).collect();
        self.enter(entries)?;
        if let Err(error) = output.commit() {
            self.strike(&names)?;
            return Err(error.into());
        }
        Ok(())
    }

    /// Removes a file, or a folder with what is listed within; where there is more, the folder stays.
    ///
    /// # Errors
    /// When what stands there is not listed, was changed, or cannot be removed.
    pub fn remove(&mut self, name: &str) -> Result<(), LedgerError> {
        let inner = |own: &&String| name.ends_with('/') && own.starts_with(name);
        let mut names: Vec<String> = self.listed.keys().filter(inner).cloned().collect();
        names.extend((!name.ends_with('/')).then(|| name.to_string()));
        // What lies within a folder comes behind it in their order.
        for name in names.iter().rev() {
            let path = self.folder.join(name.trim_end_matches('/'));
            let failed = |source| FileError::Write { path: path.clone(), source };
            if self.is_own(name)? {
                match if name.ends_with('/') {
                    fs::remove_dir(&path)
                } else {
                    fs::remove_file(&path)
                } {
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => continue,
                    removed => removed.map_err(failed)?,
                }
            }
            self.strike(std::slice::from_ref(name))?;
        }
        Ok(())
    }

    /// Removes what dead processes left half-written.
    fn tidy(&self) {
        writer::tidy_claimed(&self.folder);
        let folders = self.listed.keys().filter(|name| name.ends_with('/'));
        for name in folders.filter(|name| self.has(name)) {
            writer::tidy_claimed(&self.folder.join(name));
        }
    }

    fn make(&mut self, within: &str) -> Result<(), LedgerError> {
        if self.is_own(within)? {
            return Ok(());
        }
        self.enter([(within.to_string(), Content::Any)])?;
        let path = self.folder.join(within);
        if let Err(source) = fs::create_dir(&path) {
            self.strike(&[within.to_string()])?;
            return Err(FileError::Write { path, source }.into());
        }
        Ok(())
    }

    /// Whether what stands at a name is ours; nothing may stand there, too.
    fn is_own(&self, name: &str) -> Result<bool, LedgerError> {
        foreign::is_own(&self.folder, &self.listed, name)
    }

    /// Puts a file that is complete in its place.
    fn place(&mut self, name: &str, output: Output, replaces: bool) -> Result<(), LedgerError> {
        output.synchronise()?;
        let content = Content::of(output.temporary(), output.path())?;
        // It may have taken its time: what is replaced is looked at again.
        if replaces {
            self.is_own(name)?;
        }
        self.enter([(name.to_string(), content)])?;
        let [temporary, path] = [output.temporary(), output.path()].map(PathBuf::from);
        let placed = output.rename();
        content::moved(&temporary, &path);
        if placed.is_err() && !replaces {
            // What may stand there now was put there by another meanwhile.
            self.strike(&[name.to_string()])?;
        }
        Ok(placed?)
    }

    /// Puts down what is about to stand at these names.
    fn enter(
        &mut self,
        entries: impl IntoIterator<Item = (String, Content)>,
    ) -> Result<(), LedgerError> {
        let mut entries = Vec::from_iter(entries);
        entries.retain(|(name, content)| {
            self.listed.get(name).is_none_or(|contents| contents.last() != Some(content))
        });
        if entries.is_empty() {
            return Ok(());
        }
        self.append(&entries.iter().map(|(name, it)| names::line(name, it)).collect::<String>())?;
        for (name, content) in entries {
            content.join(self.listed.entry(name).or_default());
        }
        Ok(())
    }

    /// Strikes out names. One without a file does no harm: it need not be on the disk at once.
    fn strike(&mut self, names: &[String]) -> Result<(), LedgerError> {
        let gone = names.iter().filter(|name| self.listed.remove(*name).is_some());
        let lines: String = gone.map(|name| names::struck(name)).collect();
        self.put(&lines)
    }

    fn append(&mut self, lines: &str) -> Result<(), LedgerError> {
        self.put(lines)?;
        let path = || self.folder.join(LEDGER);
        Ok(self.file.sync_data().map_err(|source| FileError::Write { path: path(), source })?)
    }

    /// Appends whole lines or, on a full disk, nothing.
    fn put(&mut self, lines: &str) -> Result<(), LedgerError> {
        let Err(source) = self.file.write_all(lines.as_bytes()) else {
            self.length += lines.len() as u64;
            return Ok(());
        };
        let _ = self.file.set_len(self.length);
        Err(FileError::Write { path: self.folder.join(LEDGER), source }.into())
    }
}

/// What lies in a folder, and its names.
fn list(
    folder: &Path,
    within: &str,
    entries: &mut Vec<(String, Content)>,
) -> Result<(), FileError> {
    let failed = |source| FileError::Read { path: folder.into(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            let reason = "its name is not UTF-8, which a ledger cannot list; rename it".into();
            FileError::Config { path: path.clone(), reason }
        })?;
        let name = format!("{within}{name}");
        if Stands::at(&path)? == Stands::Folder {
            let within = name + "/";
            list(&path, &within, entries)?;
            entries.push((within, Content::Any));
        } else {
            entries.push((name, Content::of(&path, &path)?));
        }
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(())
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
