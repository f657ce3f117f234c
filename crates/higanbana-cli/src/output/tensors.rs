//! Names of files that tensors are written to.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser, ValueParser};

/// Endings of other formats of weights.
const OTHERS: [&str; 12] =
    ["bin", "ckpt", "gguf", "h5", "msgpack", "npy", "npz", "onnx", "pickle", "pkl", "pt", "pth"];

/// Reads the name of a file of tensors that is to be written. That is always safetensors: programs that go
/// by a name would read another format.
pub fn tensors() -> ValueParser {
    let parse = |path: PathBuf| {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match OTHERS.contains(&&*ending) {
            true => Err("tensors are written as safetensors; name it .safetensors"),
            false => Ok(path),
        }
    };
    PathBufValueParser::new().try_map(parse).into()
}
