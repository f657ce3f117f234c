//! Files and folders that come and go.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Ledger, LedgerError,
    content::{self, Content},
    names::{Stands, folders},
};
use crate::{
    FileError,
    writer::{self, Output},
};

impl Ledger {
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
