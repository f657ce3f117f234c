//! The formats of files of tensors. Another one is a file here and a line in [`FORMATS`].

mod folder;
mod foreign;
mod header;
mod positioned;
mod pytorch;
mod safetensors;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

pub use folder::weight_files;
pub(crate) use header::METADATA_KEY;
pub(crate) use pytorch::LIST;
pub(crate) use safetensors::{LENGTH_BYTES, MAX_HEADER};

use super::Info;
use crate::FileError;

/// Where a format's tensors are read from.
pub(super) trait Container: Debug + Send + Sync {
    /// The bytes of one tensor, little-endian and row-major.
    fn read(&self, key: &str) -> Result<Vec<u8>, FileError>;
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Contents {
    /// Where it is; of a directory of one file, that file.
    pub path: PathBuf,
    /// In the order in which they are best read.
    pub tensors: Vec<(String, Info)>,
    pub metadata: BTreeMap<String, String>,
    /// What a user should know, one line each.
    pub notes: Vec<String>,
    pub container: Box<dyn Container>,
    pub bytes: u64,
}

/// How files of a format are told and opened.
struct Format {
    /// Whether a file that begins with these bytes is of the format.
    is: fn(&[u8]) -> bool,
    open: fn(&Path, File, u64) -> Result<Contents, FileError>,
}

const FORMATS: [Format; 2] = [safetensors::FORMAT, pytorch::FORMAT];

/// Enough to tell every format: what a tar archive says of itself stands at its 257th byte.
const START: u64 = 512;

/// Opens a file of any of the formats, or a directory of them; no tensor is read.
pub(super) fn open(path: &Path) -> Result<Contents, FileError> {
    let cannot_open = |source| FileError::Open { path: path.into(), source };
    let about = fs::metadata(path).map_err(cannot_open)?;
    if about.is_dir() {
        return folder::open(path);
    }
    // Before opening: a pipe would block.
    if !about.is_file() {
        return Err(FileError::NotAFile { path: path.into() });
    }
    let file = File::open(path).map_err(cannot_open)?;
    let bytes = file.metadata().map_err(cannot_open)?.len();
    if bytes == 0 {
        return Err(FileError::Empty { path: path.into() });
    }
    let mut start = Vec::new();
    let read = (&file).take(START).read_to_end(&mut start);
    read.map_err(|source| FileError::Read { path: path.into(), source })?;
    match FORMATS.iter().find(|format| (format.is)(&start)) {
        Some(format) => (format.open)(path, file, bytes),
        None => {
            let (what, remedy) = foreign::recognise(&start);
            Err(FileError::Foreign { path: path.into(), what, remedy })
        }
    }
}
