//! What can go wrong with the ledger of a folder.

use std::{io, path::PathBuf};

use super::LEDGER;
use crate::FileError;

/// Why a folder cannot be written into, in one line.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something stands where a command would write, and no command wrote it.
    #[error(
        "{}: {LEDGER} does not list it as written here, and only what it lists is replaced; \
         name another folder, or move it away",
        path.display()
    )]
    Foreign {
        /// The first such file or folder.
        path: PathBuf,
    },
    /// A file that a command wrote holds something else by now.
    #[error(
        "{}: was changed since it was written here, and is not replaced; name another folder, or move it away",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file of that name is another's, or was edited.
    #[error("{}: is no ledger ({reason}); name another folder, or move it away", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another process works there.
    #[error("{}: another process works on this run; wait for it, or stop it", folder.display())]
    Claimed {
        /// The folder.
        folder: PathBuf,
    },
    /// The file system has no locks.
    #[error("{}: cannot be locked ({source}); choose a file system that has locks", path.display())]
    NoLock {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
