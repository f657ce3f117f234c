//! Makes a mutated file consistent again, so that mutations reach what lies behind the header.

use higanbana_io::Dtype;
use serde_json::{Deserializer, Value, json};

/// Tiles the data with the tensors as their dtypes and shapes ask for, and corrects the header's
/// length. None where the header is no JSON any more, or the file would not fit in `max_size`.
pub fn repair(file: &[u8], max_size: usize) -> Option<Vec<u8>> {
    let mut parser = Deserializer::from_slice(file.get(8..)?).into_iter::<Value>();
    let mut header = parser.next()?.ok()?;
    let old_data = &file[8 + parser.byte_offset()..];
    let mut end = 0usize;
    for (_, tensor) in header.as_object_mut()? {
        let Some(length) = byte_length(tensor) else { continue };
        tensor["data_offsets"] = json!([end, end + length]);
        end += length;
        if end > max_size {
            return None;
        }
    }
    let json = serde_json::to_vec(&header).ok()?;
    let mut repaired = (json.len() as u64).to_le_bytes().to_vec();
    repaired.extend(json);
    let start = repaired.len();
    repaired.extend(&old_data[..old_data.len().min(end)]);
    repaired.resize(start + end, 0);
    (repaired.len() <= max_size).then_some(repaired)
}

/// Bytes of a tensor as the header describes it; none for a shape that no file can hold.
fn byte_length(tensor: &Value) -> Option<usize> {
    let dtype: Dtype = serde_json::from_value(tensor.get("dtype")?.clone()).ok()?;
    let shape: Vec<usize> = serde_json::from_value(tensor.get("shape")?.clone()).ok()?;
    let bits = shape.iter().try_fold(dtype.bitsize(), |bits, &dim| bits.checked_mul(dim))?;
    (bits / 8 <= 1 << 24).then_some(bits / 8)
}
