//! Pickles that the reader does not take as they are, and that mean nothing else for a word changed: they
//! are read from a copy.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use pytorch_reader::{DType, MAX_PICKLE_SIZE};
use regex::bytes::{Captures, Regex};
use safetensors::Dtype;
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

/// Names in torch of types of 8 bits: two floats, which the reader lacks, and the storages of integers.
static BYTE: LazyLock<Regex> = LazyLock::new(|| {
    let name = r"(?-u)ctorch\n(float8_e4m3fn|float8_e5m2|ByteStorage|CharStorage)\n";
    Regex::new(name).expect("the pattern is valid")
});

/// As which type a float of 8 bits is read.
type Floats = Vec<(DType, Dtype)>;

/// A file, or the copy of it that is to be read.
#[derive(Debug)]
pub(super) struct Amended {
    file: Readable,
    floats: Floats,
}

#[derive(Debug)]
enum Readable {
    Itself(PathBuf),
    Copy(NamedTempFile),
}

/// A pickle with some of its words changed.
struct Pickle {
    bytes: Vec<u8>,
    floats: Floats,
}

impl Amended {
    /// The copy of a zip archive whose pickle has to be amended.
    pub fn of(path: &Path) -> ZipResult<Self> {
        let as_it_is = || Ok(Self { file: Readable::Itself(path.into()), floats: Vec::new() });
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
        match amend(&pickle)? {
            None => as_it_is(),
            Some(Pickle { bytes, floats }) => {
                let file = Readable::Copy(copy(&mut archive, &name, &bytes)?);
                Ok(Self { file, floats })
            }
        }
    }

    pub fn path(&self) -> &Path {
        match &self.file {
            Readable::Itself(path) => path,
            Readable::Copy(file) => file.path(),
        }
    }

    /// The 8-bit float that is read as this type, if one is.
    pub fn float(&self, read: DType) -> Option<Dtype> {
        self.floats.iter().find(|(byte, _)| *byte == read).map(|(_, float)| *float)
    }
}

/// The name of the pickle of an archive.
fn pickle(archive: &ZipArchive<File>) -> Option<String> {
    let names = archive.file_names().filter_map(Result::ok);
    let pickles = names.filter(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    pickles.min_by_key(|name| name.len()).map(|name| name.to_string())
}

/// The pickle with a dictionary at its root, no class among its keys and no 8-bit floats; none if it is so
/// already.
fn amend(pickle: &[u8]) -> ZipResult<Option<Pickle>> {
    let named = CLASS_OF_LIGHTNING.replace_all(pickle, b"V$1.$2\n".as_slice());
    let (mut bytes, floats) = without_floats(named)?;
    if let Some(rooted) = rooted(&bytes) {
        bytes = Cow::Owned(rooted);
    }
    Ok(match bytes {
        Cow::Borrowed(_) => None,
        Cow::Owned(bytes) => Some(Pickle { bytes, floats }),
    })
}

/// The pickle with integers, of which it has no others, in the place of its 8-bit floats.
fn without_floats(pickle: Cow<[u8]>) -> ZipResult<(Cow<[u8]>, Floats)> {
    let names: BTreeSet<Vec<u8>> = BYTE.captures_iter(&pickle).map(|it| it[1].to_vec()).collect();
    let has = |name: &str| names.contains(name.as_bytes());
    let floats = [("float8_e4m3fn", Dtype::F8_E4M3), ("float8_e5m2", Dtype::F8_E5M2)];
    let integers = [
        ("ByteStorage", &b"ctorch\nuint8\n"[..], DType::U8),
        ("CharStorage", b"ctorch\nint8\n", DType::I8),
    ];
    let floats: Vec<_> = floats.into_iter().filter(|(name, _)| has(name)).collect();
    let free: Vec<_> = integers.into_iter().filter(|(name, ..)| !has(name)).collect();
    if floats.is_empty() {
        return Ok((pickle, Vec::new()));
    }
    if floats.len() > free.len() {
        let reason = "its 8-bit floats stand beside integers of 8 bits";
        return Err(ZipError::InvalidArchive(reason.into()));
    }
    let changed = BYTE.replace_all(&pickle, |it: &Captures| {
        let at = floats.iter().position(|(name, _)| name.as_bytes() == &it[1]);
        at.map_or(it[0].to_vec(), |at| free[at].1.to_vec())
    });
    let meant = free.iter().zip(&floats).map(|((_, _, read), (_, float))| (*read, *float));
    Ok((Cow::Owned(changed.into_owned()), meant.collect()))
}

/// `{"list": ...}` of a pickle that has a list at its root: an empty dictionary, the key, the list, and their
/// setting before the stop.
fn rooted(pickle: &[u8]) -> Option<Vec<u8>> {
    const PROTOCOL: usize = 2;
    const FRAME: usize = 9;
    let start = if pickle.get(PROTOCOL) == Some(&0x95) { PROTOCOL + FRAME } else { PROTOCOL };
    if pickle.first() != Some(&0x80) || pickle.get(start) != Some(&b']') {
        return None;
    }
    let (head, list) = pickle.split_at(PROTOCOL);
    let list = list.strip_suffix(b".")?;
    let key = [b"}X", &(LIST.len() as u32).to_le_bytes()[..], LIST.as_bytes()].concat();
    Some([head, &key, list, b"s."].concat())
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
