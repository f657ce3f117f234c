//! What can go wrong with a file, each in one line that names the file, the key and the remedy.

use std::{io, path::PathBuf};

use crate::names::NameError;

/// An error of this crate. Every message is one line: which file, which key, what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The path cannot be opened: missing, no permission, a broken link.
    #[error("{}: cannot be opened ({source}); check the path and its permissions", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path names a pipe or a device.
    #[error("{}: is not a regular file; name a file of weights", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file could be opened but not read.
    #[error("{}: reading failed ({source}); check the disk and try again", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory has no weights under the names that diffusers and PEFT give them.
    #[error(
        "{}: is a directory without weights (such as model.safetensors, adapter_model.safetensors, unet/diffusion_pytorch_model.safetensors); name a file of it",
        path.display()
    )]
    NoWeights {
        /// The directory.
        path: PathBuf,
    },
    /// The file is of a format that is not read.
    #[error("{}: is {what}, no file of weights that is read; {remedy}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A PyTorch file cannot be read.
    #[error(
        "{}: cannot be read as a PyTorch file ({reason}); where it comes from, save a dictionary of its tensors with safetensors.torch.save_file",
        path.display()
    )]
    PyTorch {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The file has no bytes at all.
    #[error("{}: is empty; download or copy it again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file ends before its own header says it does.
    #[error(
        "{}: is truncated, {found} bytes where its header asks for {expected}; download or copy it again",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes the file must have.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// The file goes on after its last tensor.
    #[error(
        "{}: has {extra} bytes after its last tensor; the file is damaged, download or save it again",
        path.display()
    )]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// How many bytes belong to no tensor.
        extra: u64,
    },
    /// The header claims a size that no reader accepts.
    #[error(
        "{}: its header claims {length} bytes, over the format's limit of {limit}; the file is damaged, download or save it again",
        path.display()
    )]
    HeaderTooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes claimed.
        length: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The header is not the JSON that the format asks for, or names a key twice.
    #[error("{}: its header is invalid ({reason}); the file is damaged, save it again", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A tensor's bytes overlap the one before, leave a gap, or end before they begin.
    #[error(
        "{}: tensor {key:?} lies at bytes {begin}..{end} where {expected}.. is next; the file is damaged, save it again",
        path.display()
    )]
    Offsets {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// First byte claimed.
        begin: usize,
        /// End claimed.
        end: usize,
        /// The byte at which the tensor must begin.
        expected: usize,
    },
    /// A tensor's bytes are not as many as its dtype and shape need.
    #[error(
        "{}: tensor {key:?} ({dtype} {shape:?}) cannot be {bytes} bytes; the file is damaged, save it again",
        path.display()
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// Its dtype.
        dtype: safetensors::Dtype,
        /// Its shape.
        shape: Vec<usize>,
        /// The bytes it has.
        bytes: usize,
    },
    /// A tensor was asked for that the file does not have.
    #[error("{}: has no tensor {key:?}", path.display())]
    NoSuchKey {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
    },
    /// A module was to be left out that no file has.
    #[error("{}: has no module {module:?} to leave out; nearest: {}", path.display(), nearest.join(", "))]
    NoSuchModule {
        /// The file, or the first of several.
        path: PathBuf,
        /// The module.
        module: String,
        /// The most similar names there are.
        nearest: Vec<String>,
    },
    /// A tensor has a dtype that cannot be computed with.
    #[error(
        "{}: tensor {key:?} is {dtype}, which is not supported; save it as F32, F16 or BF16",
        path.display()
    )]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// Its dtype, as the file or Burn calls it.
        dtype: String,
    },
    /// A tensor is quantised in a way that is not known.
    #[error(
        "{}: tensor {key:?} is quantised, as {by:?} tells, in a way that is not read; take the unquantised model",
        path.display()
    )]
    Quantised {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// The tensor that tells how.
        by: String,
    },
    /// A tensor has another shape than its place asks for.
    #[error("{}: tensor {key:?} has shape {shape:?}, {expected} is needed", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What would fit.
        expected: &'static str,
    },
    /// A tensor holds NaN or an infinity.
    #[error(
        "{}: tensor {key:?} is {value} at element {index}; the training diverged or the file is damaged, use an earlier one",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// The first such element, counted in row-major order.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// A tensor is too large for the memory there is.
    #[error("{}: no memory for the {bytes} bytes of tensor {key:?}", path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// Its size.
        bytes: usize,
    },
    /// The output exists and may not be replaced.
    #[error("{}: exists already; name another output or pass --overwrite", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The folder of the output is missing.
    #[error("{}: its folder {} does not exist; create it first", path.display(), folder.display())]
    NoFolder {
        /// The output.
        path: PathBuf,
        /// The missing folder.
        folder: PathBuf,
    },
    /// The output cannot be written: disk full, folder not writable. Nothing is left of it.
    #[error("{}: cannot be written ({source}); {}", path.display(), remedy(source.kind()))]
    Write {
        /// The output.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Two tensors of one file have, or come to have, the same key.
    #[error("{}: two tensors are called {key:?} ({first:?}, {second:?}); rename or remove one", path.display())]
    DuplicateKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Where the first comes from.
        first: String,
        /// Where the second comes from.
        second: String,
    },
    /// A module of an adapter file answers to no layer of the base, or to two.
    #[error("{}: module {module:?}: {error}{}", path.display(), right_base(error))]
    Name {
        /// The adapter file.
        path: PathBuf,
        /// The module.
        module: String,
        /// What is wrong with its name.
        error: NameError,
    },
    /// `adapter_config.json` or the metadata cannot be understood.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Where, why, and the remedy.
        reason: String,
    },
    /// The file holds tensors but no adapter.
    #[error("{}: holds no adapter, {reason}; name an adapter file", path.display())]
    NoAdapter {
        /// The file.
        path: PathBuf,
        /// What it holds instead.
        reason: String,
    },
    /// A module of the file acts in a way that no weight of its layer does.
    #[error("{}: module {module:?}: {reason}", path.display())]
    CannotRead {
        /// The file.
        path: PathBuf,
        /// The module.
        module: String,
        /// What it is, and the remedy.
        reason: &'static str,
    },
    /// The output dialect has no place for a tensor.
    #[error(
        "{}: module {module:?}: {what} cannot be written as {dialect}; {}choose --to lycoris or --to kohya",
        path.display(),
        bake_with(bake)
    )]
    CannotHold {
        /// The file.
        path: PathBuf,
        /// The module.
        module: String,
        /// The tensor, or what about it.
        what: String,
        /// The dialect that lacks it.
        dialect: &'static str,
        /// An algorithm that it has and that any update can be fitted with.
        bake: Option<&'static str>,
    },
    /// A module's name in the output dialect cannot be told.
    #[error("{}: module {module:?}: its {dialect} name is unknown; {remedy}", path.display())]
    NoSpelling {
        /// The file.
        path: PathBuf,
        /// The module.
        module: String,
        /// The dialect asked for.
        dialect: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

/// What helps against a failure to write.
fn remedy(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    match kind {
        NotFound | PermissionDenied | ReadOnlyFilesystem => "choose a writable folder",
        _ => "free some space or choose another folder",
    }
}

fn bake_with(algorithm: &Option<&str>) -> String {
    algorithm.map_or(String::new(), |name| format!("bake it with --bake {name} --rank R, or "))
}

fn right_base(error: &NameError) -> &'static str {
    match error {
        NameError::Unmatched { .. } => "; is this the right base?",
        NameError::Ambiguous { .. } | NameError::Elsewhere { .. } => "",
    }
}
