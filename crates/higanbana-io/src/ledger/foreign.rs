//! What stands where a command would write, and is not its own.

use std::{fs, path::Path};

use super::{
    LedgerError,
    content::Content,
    names::{Listed, Stands, folders, is_inside},
};
use crate::FileError;

/// Refuses the first thing that stands at one of these names and that is not listed, or was changed.
///
/// A name that ends in `*` stands for all that begin so, and for everything below those.
pub(super) fn refuse(folder: &Path, listed: &Listed, names: &[&str]) -> Result<(), LedgerError> {
    names.iter().try_for_each(|name| match name.strip_suffix('*') {
        Some(start) => refuse_all(folder, listed, start),
        None => is_own(folder, listed, name).map(drop),
    })
}

/// Whether what stands at a name is listed, and as it was written; nothing may stand there, too.
pub(super) fn is_own(folder: &Path, listed: &Listed, name: &str) -> Result<bool, LedgerError> {
    if !is_inside(name) {
        return Err(LedgerError::Foreign { path: folder.join(name) });
    }
    for within in folders(name).chain([name]) {
        let path = folder.join(within.trim_end_matches('/'));
        let stands = Stands::at(&path)?;
        let is_of_kind = match stands {
            Stands::Nothing => return Ok(false),
            Stands::File => !within.ends_with('/'),
            Stands::Folder => within.ends_with('/'),
            Stands::Other => false,
        };
        let Some(contents) = listed.get(within).filter(|_| is_of_kind) else {
            return Err(LedgerError::Foreign { path });
        };
        if stands == Stands::File && !is_any_at(contents, &path)? {
            return Err(LedgerError::Changed { path });
        }
    }
    Ok(true)
}

/// Whether a file holds one of these.
fn is_any_at(contents: &[Content], path: &Path) -> Result<bool, FileError> {
    for content in contents {
        if content.is_at(path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn refuse_all(folder: &Path, listed: &Listed, start: &str) -> Result<(), LedgerError> {
    let (within, start) = start.split_at(start.rfind('/').map_or(0, |at| at + 1));
    if !within.is_empty() && !is_own(folder, listed, within)? {
        return Ok(());
    }
    let path = folder.join(within);
    let failed = |source| FileError::Open { path: path.clone(), source };
    if Stands::at(&path)? == Stands::Nothing {
        return Ok(());
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(&path).map_err(failed)? {
        entries.push(entry.map_err(failed)?.file_name());
    }
    entries.sort();
    for entry in entries {
        let Some(name) = entry.to_str() else {
            match entry.to_string_lossy().starts_with(start) {
                true => return Err(LedgerError::Foreign { path: path.join(entry) }),
                false => continue,
            }
        };
        if !name.starts_with(start) {
            continue;
        }
        let name = format!("{within}{name}");
        match Stands::at(&folder.join(&name))? {
            Stands::Folder => refuse_all(folder, listed, &format!("{name}/"))?,
            _ => drop(is_own(folder, listed, &name)?),
        }
    }
    Ok(())
}
