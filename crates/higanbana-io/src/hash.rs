//! The hash by which web interfaces recognise an adapter file.

use std::{collections::BTreeMap, convert::Infallible};

use burn::tensor::TensorData;
use sha2::{Digest, Sha256};

use crate::Dialect;

/// The entry of the metadata.
const SSHS: &str = "sshs_model_hash";
/// That of the model specification (`0x`, of the same bytes), kept up where a file has it.
const MODELSPEC: &str = "modelspec.hash_sha256";
/// An older one, of some bytes in the middle of the file, which nobody asks for any more.
const LEGACY: &str = "sshs_legacy_hash";

/// Puts `hash` ([`sshs_model_hash`]) in the place of those in the metadata of a file that held other
/// tensors. kohya's scripts leave out the `0x`; diffusers and PEFT have no such entry.
pub(crate) fn renew(metadata: &mut BTreeMap<String, String>, hash: &str, dialect: Dialect) {
    metadata.remove(LEGACY);
    metadata.remove(SSHS);
    if let Some(said) = metadata.get_mut(MODELSPEC) {
        *said = hash.into();
    }
    let own = match dialect {
        Dialect::Lycoris => Some(hash),
        Dialect::Kohya => hash.strip_prefix("0x"),
        Dialect::Diffusers | Dialect::Peft => None,
    };
    metadata.extend(own.map(|hash| (SSHS.to_string(), hash.to_string())));
}

/// `sshs_model_hash` as LyCORIS writes it: `0x` and the SHA-256 of the tensors' raw data, one after
/// the other. Names, shapes and metadata do not enter.
pub fn sshs_model_hash<'a>(tensors: impl IntoIterator<Item = &'a TensorData>) -> String {
    let chunks = tensors.into_iter().map(|tensor| Ok::<_, Infallible>(tensor.as_bytes()));
    let Ok(hash) = hash_chunks(chunks);
    hash
}

/// [`sshs_model_hash`] of raw data that comes piece by piece.
pub(crate) fn hash_chunks<C: AsRef<[u8]>, E>(
    chunks: impl IntoIterator<Item = Result<C, E>>,
) -> Result<String, E> {
    let mut hash = Sha256::new();
    for chunk in chunks {
        hash.update(chunk?);
    }
    Ok(format!("0x{:x}", hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_the_data_in_order() {
        // printf 'abc' | sha256sum, the bytes split over two tensors.
        let tensors = [TensorData::new(vec![b'a', b'b'], [2]), TensorData::new(vec![b'c'], [1])];
        assert_eq!(
            sshs_model_hash(&tensors),
            "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
