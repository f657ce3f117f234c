//! What can go wrong with the folder of a run.

use std::path::{Path, PathBuf};

use crate::{FileError, ledger::LedgerError};

/// Why a run cannot be begun, written to or asked, in one line.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder is claimed by another process, or holds what no run wrote.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The run is done, and a file that it made is not as it wrote it.
    #[error(
        "{}: was changed or cut off since its run wrote it, which is done; restore it, or move the folder away and run again",
        path.display()
    )]
    Damaged {
        /// The first such file.
        path: PathBuf,
    },
    /// The folder is that of another configuration.
    #[error("{}: holds a run with {what}; name another folder, or remove this one", folder.display())]
    Changed {
        /// The folder.
        folder: PathBuf,
        /// What is different about it.
        what: String,
    },
}

impl RunError {
    /// The folder holds the configuration `found`, not the one asked for.
    pub(super) fn changed(folder: &Path, found: &str, asked: &toml::Table) -> Self {
        let what = match found.parse::<toml::Table>() {
            Ok(found) => difference(&found.into(), &asked.clone().into(), ""),
            Err(_) => None,
        };
        let what = what.unwrap_or_else(|| "another configuration".into());
        Self::Changed { folder: folder.into(), what }
    }
}

/// The first key at which two configurations differ, with the value of the first one.
fn difference(found: &toml::Value, asked: &toml::Value, key: &str) -> Option<String> {
    match (found, asked) {
        (toml::Value::Table(found), toml::Value::Table(asked)) => {
            let below =
                |name: &str| if key.is_empty() { name.into() } else { format!("{key}.{name}") };
            let theirs = found.iter().find_map(|(name, value)| match asked.get(name) {
                Some(other) => difference(value, other, &below(name)),
                None => Some(format!("{} = {value}", below(name))),
            });
            let ours = || asked.keys().find(|name| !found.contains_key(*name));
            theirs.or_else(|| Some(format!("no {}", below(ours()?))))
        }
        (found, asked) if found == asked => None,
        (found, _) => Some(format!("{key} = {found}")),
    }
}
