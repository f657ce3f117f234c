//! Pickles that the reader does not take as they are, and that mean nothing else for a word changed: they
//! are read from a copy.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use pytorch_reader::MAX_PICKLE_SIZE;
use regex::bytes::Regex;
use tempfile::NamedTempFile;
use zip::{
    CompressionMethod, ZipArchive, ZipWriter,
    result::{ZipError, ZipResult},
    write::SimpleFileOptions,
};

/// The name that a list at the root of a pickle is given.
pub(crate) const LIST: &str = "list";

/// Lightning's checkpoints, those of Stable Diffusion among them, have classes of its callbacks as keys.
static CLASS_OF_LIGHTNING: LazyLock<Regex> = LazyLock::new(|| {
    let class = r"(?-u)c((?:pytorch_)?lightning(?:\.\w+)+)\n(\w+)\n";
    Regex::new(class).expect("the pattern is valid")
});

/// A file, or the copy of it that is to be read.
#[derive(Debug)]
pub(super) enum Amended {
    Not(PathBuf),
    Copy(NamedTempFile),
}

impl Amended {
    /// The copy of a zip archive whose pickle has to be amended.
    pub fn of(path: &Path) -> ZipResult<Self> {
        let as_it_is = || Ok(Self::Not(path.into()));
        let mut file = File::open(path)?;
        let mut magic = [0; 4];
        if file.read_exact(&mut magic).is_err() || magic != *b"PK\x03\x04" {
            return as_it_is();
        }
        let bytes = file.metadata()?.len();
        let mut archive = ZipArchive::new(file)?;
        let Some(name) = pickle(&archive) else { return as_it_is() };
        let entry = archive.by_name(&name)?;
        // torch compresses nothing.
        if entry.size() > bytes {
            return Err(ZipError::InvalidArchive("its pickle is larger than the file".into()));
        }
        if entry.size() > MAX_PICKLE_SIZE {
            return as_it_is();
        }
        let mut pickle = Vec::new();
        entry.take(MAX_PICKLE_SIZE).read_to_end(&mut pickle)?;
        match amend(&pickle) {
            None => as_it_is(),
            Some(amended) => copy(&mut archive, &name, &amended).map(Self::Copy),
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Not(path) => path,
            Self::Copy(file) => file.path(),
        }
    }
}

/// The name of the pickle of an archive.
fn pickle(archive: &ZipArchive<File>) -> Option<String> {
    let names = archive.file_names().filter_map(Result::ok);
    let pickles = names.filter(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    pickles.min_by_key(|name| name.len()).map(|name| name.to_string())
}

/// The pickle with a dictionary at its root, and no class among its keys; none if it is so already.
fn amend(pickle: &[u8]) -> Option<Vec<u8>> {
    const PROTOCOL: usize = 2;
    const FRAME: usize = 9;
    let named = CLASS_OF_LIGHTNING.replace_all(pickle, b"V$1.$2\n".as_slice());
    let start = if named.get(PROTOCOL) == Some(&0x95) { PROTOCOL + FRAME } else { PROTOCOL };
    let is_list = named.first() == Some(&0x80) && named.get(start) == Some(&b']');
    match (is_list, named) {
        (false, Cow::Borrowed(_)) => None,
        (false, named) => Some(named.into_owned()),
        (true, named) => {
            // `{"list": ...}`: an empty dictionary, the key, the list, and their setting before the stop.
            let (head, list) = named.split_at(PROTOCOL);
            let list = list.strip_suffix(b".")?;
            let key = [b"}X", &(LIST.len() as u32).to_le_bytes()[..], LIST.as_bytes()].concat();
            Some([head, &key, list, b"s."].concat())
        }
    }
}

fn copy(archive: &mut ZipArchive<File>, name: &str, pickle: &[u8]) -> ZipResult<NamedTempFile> {
    let temporary = tempfile::Builder::new().prefix(".higanbana-").tempfile()?;
    let mut out = ZipWriter::new(io::BufWriter::new(temporary.reopen()?));
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index)?;
        if entry.name()? != name {
            out.raw_copy_file(entry)?;
        }
    }
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    out.start_file(name, stored)?;
    out.write_all(pickle)?;
    out.finish()?.flush()?;
    Ok(temporary)
}
