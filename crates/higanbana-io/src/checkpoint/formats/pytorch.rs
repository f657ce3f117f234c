//! PyTorch's files (`.pt`, `.bin`, `.ckpt`; zip and legacy), through the reader of burn-store: it builds
//! tensors and calls nothing that a pickle names.

mod amended;
mod entries;

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    path::{Path, PathBuf},
};

use pytorch_reader::{DType, PytorchReader, Tensor};
use safetensors::Dtype;

use super::{Container, Contents, Format};
use crate::{FileError, Info};
use amended::Amended;
pub(crate) use amended::LIST;
use entries::Entries;

pub(super) const FORMAT: Format = Format {
    is: |start| {
        let pickled = matches!(start, [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..]);
        pickled || start.get(257..262) == Some(b"ustar")
    },
    open,
};

/// A tensor of fewer bytes may be larger than its file.
const SMALL: u64 = 1 << 20;

#[derive(Debug)]
struct PyTorch {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
    /// The copy that is read in the file's place, where it has to keep its name to be open.
    _copy: Option<Amended>,
}

fn open(path: &Path, _file: File, bytes: u64) -> Result<Contents, FileError> {
    let refused = |reason: &dyn ToString| refused(path, reason);
    let copy = Amended::of(path).map_err(|reason| refused(&reason))?;
    let reader = PytorchReader::new(copy.path()).map_err(|reason| refused(&reason))?;
    let root = PytorchReader::read_pickle_data(copy.path(), None);
    let entries = Entries::of(&root.map_err(|reason| refused(&reason))?);
    entries.check(reader.len()).map_err(|reason| refused(&reason))?;
    let tensors: HashMap<String, Tensor> = reader
        .into_tensors()
        .into_iter()
        .filter_map(|(key, tensor)| Some((key.strip_prefix(&entries.prefix)?.into(), tensor)))
        .collect();
    // A view can claim any size of a small storage.
    let largest = bytes.max(SMALL);
    if let Some((key, tensor)) = tensors.iter().find(|(_, it)| it.byte_len() as u64 > largest) {
        let reason =
            format!("tensor {key:?} would be {} bytes, more than the file", tensor.byte_len());
        return Err(refused(&reason));
    }
    let infos = tensors.iter().map(|(key, tensor)| {
        let read = tensor.dtype();
        let dtype = copy.float(read).unwrap_or_else(|| dtype(read));
        let info = Info { dtype, shape: tensor.shape().into() };
        (key.clone(), info)
    });
    Ok(Contents {
        path: path.into(),
        // Sorted, because the reader does not say where their bytes lie.
        tensors: infos.collect::<BTreeMap<_, _>>().into_iter().collect(),
        metadata: BTreeMap::new(),
        notes: entries.note(path).into_iter().collect(),
        container: Box::new(PyTorch {
            path: path.into(),
            tensors,
            _copy: (!cfg!(unix)).then_some(copy),
        }),
        bytes,
    })
}

impl Container for PyTorch {
    fn read(&self, key: &str) -> Result<Vec<u8>, FileError> {
        let path = || self.path.clone();
        let no_such_key = || FileError::NoSuchKey { path: path(), key: key.into() };
        let tensor = self.tensors.get(key).ok_or_else(no_such_key)?;
        tensor.read().map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                refused(&self.path, &error)
            }
            _ => FileError::Read { path: path(), source: error },
        })
    }
}

/// The reader's reasons are several, one behind the other; that they are errors is said once.
fn refused(path: &Path, reason: &dyn ToString) -> FileError {
    let reason = reason.to_string().replace(char::is_control, " ");
    let reason = reason.replace("IO error: ", "").replace(" error: ", ": ");
    FileError::PyTorch { path: path.into(), reason }
}

fn dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
    }
}
