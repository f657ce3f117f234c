//! What is put down, and files that grow, which are put down more than once.

use std::{
    fs::{File, OpenOptions},
    io::Write,
};

use super::{LEDGER, Ledger, LedgerError, content::Content, names};
use crate::FileError;

impl Ledger {
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

    /// Puts down what is about to stand at these names.
    pub(super) fn enter(
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
    pub(super) fn strike(&mut self, names: &[String]) -> Result<(), LedgerError> {
        let gone = names.iter().filter(|name| self.listed.remove(*name).is_some());
        let lines: String = gone.map(|name| names::struck(name)).collect();
        self.put(&lines)
    }

    pub(super) fn append(&mut self, lines: &str) -> Result<(), LedgerError> {
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
