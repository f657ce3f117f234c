//! 8-bit floats: read exactly, and times the scale that quantising programs keep beside them.

use burn::tensor::TensorData;
use half::f16;
use safetensors::Dtype;

use super::{Checkpoint, Info};
use crate::{FileError, cast};

/// Whether the elements are 8-bit floats that are read.
pub(crate) fn is(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F8_E4M3 | Dtype::F8_E5M2)
}

/// The tensor as F16, or times its scale as F32.
pub(super) fn read(file: &Checkpoint, name: &str, info: &Info) -> Result<TensorData, FileError> {
    let bytes = file.read_bytes(name)?;
    let values = bytes.into_iter().map(|byte| widened(info.dtype, byte));
    let Some(scale) = scale(file, name)? else {
        return Ok(TensorData::new(values.collect::<Vec<f16>>(), info.shape.clone()));
    };
    let scales = cast::to_f32(file.path(), scale, &file.read(scale)?)?;
    let rows = info.shape.first().copied().unwrap_or(1);
    let elements: usize = info.shape.iter().product();
    let each = match scales.len() {
        1 => elements,
        count if count == rows && rows > 0 => elements / rows,
        _ => {
            return Err(FileError::Shape {
                path: file.path().into(),
                key: scale.into(),
                shape: file.info(scale).map(|info| info.shape.clone()).unwrap_or_default(),
                expected: "one scale for the tensor, or one for each row,",
            });
        }
    };
    let scaled = values.enumerate().map(|(at, value)| value.to_f32() * scales[at / each]);
    Ok(TensorData::new(scaled.collect::<Vec<f32>>(), info.shape.clone()))
}

/// The key of a tensor's scale: ComfyUI's, or that of the libraries which quantise models.
pub(super) fn scale<'a>(file: &'a Checkpoint, name: &str) -> Result<Option<&'a str>, FileError> {
    // The scale of a layer's input is nothing to its weight.
    const UNKNOWN: [&str; 4] =
        ["weight_scale_inv", "weight_scale_2", "weight_zero_point", "comfy_quant"];
    let Some(layer) = name.strip_suffix("weight") else { return Ok(None) };
    let key = |suffix: &str| {
        let names = file.tensors.get_key_value(&format!("{layer}{suffix}"));
        names.map(|(key, _)| key.as_str())
    };
    match UNKNOWN.into_iter().find_map(key) {
        None => Ok(["scale_weight", "weight_scale"].into_iter().find_map(key)),
        Some(key) => {
            Err(FileError::Quantised { path: file.path().into(), key: name.into(), by: key.into() })
        }
    }
}

/// The nearest value of the type, ties to even; what is too large for it stays so.
pub(crate) fn rounded(dtype: Dtype, value: f32) -> f32 {
    let (fraction, smallest) = if dtype == Dtype::F8_E5M2 { (2, -14) } else { (3, -6) };
    let exponent = ((value.to_bits() >> 23 & 0xff) as i32 - 127).max(smallest);
    let step = 2f32.powi(exponent - fraction);
    (value / step).round_ties_even() * step
}

/// The value of an element; all of both types are values of F16.
fn widened(dtype: Dtype, byte: u8) -> f16 {
    let byte16 = u16::from(byte);
    if dtype == Dtype::F8_E5M2 {
        return f16::from_bits(byte16 << 8);
    }
    // One sign, four bits of exponent around 7, three of fraction; no infinity.
    let (sign, exponent, fraction) = (byte16 >> 7 << 15, byte16 >> 3 & 15, byte16 & 7);
    match (exponent, fraction) {
        (15, 7) => f16::NAN,
        (0, fraction) => {
            let tiny = f16::from_f32(f32::from(fraction) / 512.0);
            f16::from_bits(sign | tiny.to_bits())
        }
        // Around 15 in F16.
        _ => f16::from_bits(sign | (exponent + 15 - 7) << 10 | fraction << 7),
    }
}
