//! A hash of all that is in a file of tensors, among its metadata: whether it is as it was written.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use sha2::{Digest, Sha256};

/// The entry of the metadata that holds the [`hash`].
pub const HASH: &str = "hash";

/// SHA-256 of the other metadata and of every tensor with its name, type and shape.
pub fn hash(about: &BTreeMap<String, String>, tensors: &BTreeMap<String, TensorData>) -> String {
    let mut hash = Sha256::new();
    for (name, value) in about.iter().filter(|(name, _)| *name != HASH) {
        hash.update(format!("{name:?} {value:?}\n"));
    }
    for (name, data) in tensors {
        hash.update(format!("{name:?} {:?} {:?}\n", data.dtype(), data.shape().as_slice()));
        hash.update(data.as_bytes());
    }
    format!("{:x}", hash.finalize())
}

/// Whether the hash is that of something else. Files of earlier versions have none.
pub fn is_broken(about: &BTreeMap<String, String>, tensors: &BTreeMap<String, TensorData>) -> bool {
    about.get(HASH).is_some_and(|written| *written != hash(about, tensors))
}
