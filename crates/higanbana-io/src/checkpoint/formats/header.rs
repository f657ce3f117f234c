//! The header of a safetensors file: one JSON object, validated before anything is allocated for it.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    ops::Range,
    path::Path,
};

use safetensors::tensor::TensorInfo;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::LENGTH_BYTES;
use crate::{FileError, Info, dtype::byte_length};

/// A tensor's description in the header.
#[derive(Debug)]
pub(super) struct Placed {
    pub info: Info,
    /// Where its bytes lie, counted from the end of the header.
    pub bytes: Range<usize>,
}

/// A header: metadata, and tensors in the order of their bytes.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub metadata: BTreeMap<String, String>,
    pub tensors: Vec<(String, Placed)>,
}

impl Header {
    /// Parses and checks the header `json` of a file with `data_length` bytes after it.
    pub fn parse(path: &Path, json: &[u8], data_length: u64) -> Result<Self, FileError> {
        let mut header: Header = serde_json::from_slice(json).map_err(|e| {
            // The parser quotes the file: keep it to one line.
            let reason = e.to_string().replace(char::is_control, " ");
            FileError::Header { path: path.into(), reason }
        })?;
        header.tensors.sort_by_key(|(_, placed)| (placed.bytes.start, placed.bytes.end));
        header.check(path, json.len() as u64, data_length)?;
        Ok(header)
    }

    /// The tensors tile the data section: no overlap, no gap, nothing behind the last.
    fn check(&self, path: &Path, json_length: u64, data_length: u64) -> Result<(), FileError> {
        let mut expected = 0;
        for (key, Placed { info: Info { dtype, shape }, bytes }) in &self.tensors {
            let (begin, end) = (bytes.start, bytes.end);
            if begin != expected || end < begin {
                let (path, key) = (path.into(), key.clone());
                return Err(FileError::Offsets { path, key, begin, end, expected });
            }
            if byte_length(*dtype, shape) != Some(end - begin) {
                return Err(FileError::Size {
                    path: path.into(),
                    key: key.clone(),
                    dtype: *dtype,
                    shape: shape.clone(),
                    bytes: end - begin,
                });
            }
            expected = end;
        }
        let before = LENGTH_BYTES + json_length;
        match (expected as u64).cmp(&data_length) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(FileError::Truncated {
                path: path.into(),
                expected: before.saturating_add(expected as u64),
                found: before + data_length,
            }),
            std::cmp::Ordering::Less => {
                let extra = data_length - expected as u64;
                Err(FileError::TrailingBytes { path: path.into(), extra })
            }
        }
    }
}

/// By hand, because a derived map keeps one of two equal keys and says nothing.
impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("key {key:?} appears twice")));
            }
            let within = |e| A::Error::custom(format_args!("key {key:?}: {e}"));
            if key == METADATA_KEY {
                header.metadata = map.next_value::<UniqueStrings>().map_err(within)?.0;
                continue;
            }
            let TensorInfo { dtype, shape, data_offsets: (begin, end) } =
                map.next_value().map_err(within)?;
            header.tensors.push((key, Placed { info: Info { dtype, shape }, bytes: begin..end }));
        }
        Ok(header)
    }
}

/// The header's one key that is not a tensor.
pub(crate) const METADATA_KEY: &str = "__metadata__";

struct UniqueStrings(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for UniqueStrings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = UniqueStrings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueStrings, A::Error> {
                let mut strings = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if strings.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("{key:?} appears twice")));
                    }
                    strings.insert(key, value);
                }
                Ok(UniqueStrings(strings))
            }
        }
        deserializer.deserialize_map(Strings)
    }
}
