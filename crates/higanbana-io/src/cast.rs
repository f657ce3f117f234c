//! Conversions between the float types of files and of computation.

use std::path::Path;

use burn::tensor::{DType, Element, TensorData};
use half::{bf16, f16};

use crate::FileError;

/// The same values as another dtype, rounded to the nearest, ties to even.
///
/// Burn's own conversion does this in all cases but one: from f64 to a 16-bit float it forgets the
/// low half of the mantissa, so that a value just above a tie is taken for the tie.
///
/// # Errors
/// When either dtype is quantised.
pub fn cast(data: TensorData, to: DType) -> Result<TensorData, burn::tensor::DataError> {
    if data.dtype() == DType::F64 && matches!(to, DType::F16 | DType::BF16) {
        let shape = data.shape().clone();
        let odd: Vec<f32> = data.as_slice::<f64>()?.iter().map(|&x| round_to_odd(x)).collect();
        return TensorData::new(odd, shape).try_cast(to);
    }
    data.try_cast(to)
}

/// Rounds to f32 so that a second rounding, to any type shorter by two bits, errs as little as one:
/// an inexact result gets an odd last bit and can never be mistaken for a tie.
fn round_to_odd(x: f64) -> f32 {
    let nearest = x as f32;
    if nearest.is_nan() || f64::from(nearest) == x {
        return nearest;
    }
    let away_from_zero = f64::from(nearest).abs() > x.abs();
    f32::from_bits((nearest.to_bits() - u32::from(away_from_zero)) | 1)
}

/// The values as f32, from any float or integer type.
///
/// # Errors
/// [`FileError::Dtype`], naming `path` and `key`, when the data is quantised.
pub fn to_f32(path: &Path, key: &str, data: &TensorData) -> Result<Vec<f32>, FileError> {
    data.try_to_vec_as().map_err(|_| unsupported(path, key, data))
}

/// The values as f64, from any float or integer type: exact but for integers beyond 2^53.
///
/// # Errors
/// [`FileError::Dtype`], naming `path` and `key`, when the data is quantised.
pub fn to_f64(path: &Path, key: &str, data: &TensorData) -> Result<Vec<f64>, FileError> {
    data.try_to_vec_as().map_err(|_| unsupported(path, key, data))
}

fn unsupported(path: &Path, key: &str, data: &TensorData) -> FileError {
    FileError::Dtype { path: path.into(), key: key.into(), dtype: format!("{:?}", data.dtype()) }
}

/// Checks that no element is NaN or infinite.
///
/// # Errors
/// [`FileError::NotFinite`] with the first such element, [`FileError::Dtype`] for quantised data.
pub fn check_finite(path: &Path, key: &str, data: &TensorData) -> Result<(), FileError> {
    if matches!(data.dtype(), DType::QFloat(_)) {
        return Err(unsupported(path, key, data));
    }
    let Some(index) = first_not_finite(data) else { return Ok(()) };
    let value = data.iter::<f64>().nth(index).unwrap_or(f64::NAN);
    Err(FileError::NotFinite { path: path.into(), key: key.into(), index, value })
}

/// By element type, since whole models are checked: one iterator for all types takes ten times as long.
fn first_not_finite(data: &TensorData) -> Option<usize> {
    fn first<E: Element>(data: &TensorData, is_finite: impl Fn(E) -> bool) -> Option<usize> {
        match data.as_slice::<E>() {
            Ok(values) => values.iter().position(|&x| !is_finite(x)),
            Err(_) => data.iter::<f64>().position(|x| !x.is_finite()),
        }
    }
    match data.dtype() {
        DType::F64 => first(data, f64::is_finite),
        DType::F32 => first(data, f32::is_finite),
        DType::F16 => first(data, f16::is_finite),
        DType::BF16 => first(data, bf16::is_finite),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast_one(x: f64, to: DType) -> f64 {
        let data = cast(TensorData::new(vec![x], [1]), to).unwrap();
        data.iter::<f64>().next().unwrap()
    }

    #[test]
    fn f64_rounds_once_to_nearest_even() {
        // f16 around 1 has steps of 2^-10; half a step is a tie, broken towards the even 1.
        let (step, tie) = (2f64.powi(-10), 1.0 + 2f64.powi(-11));
        assert_eq!(cast_one(tie, DType::F16), 1.0);
        assert_eq!(cast_one(tie + 2f64.powi(-40), DType::F16), 1.0 + step);
        assert_eq!(cast_one(tie - 2f64.powi(-40), DType::F16), 1.0);
        assert_eq!(cast_one(-tie - 2f64.powi(-40), DType::F16), -1.0 - step);
        // The next tie, 1.5 steps, goes up to the even 2 steps.
        assert_eq!(cast_one(1.0 + 1.5 * step, DType::F16), 1.0 + 2.0 * step);
        // bf16: steps of 2^-7 around 1.
        assert_eq!(cast_one(1.0 + 2f64.powi(-8), DType::BF16), 1.0);
        assert_eq!(cast_one(1.0 + 2f64.powi(-8) + 2f64.powi(-50), DType::BF16), 1.0078125);
    }

    #[test]
    fn extremes_keep_their_meaning() {
        assert_eq!(cast_one(65519.999, DType::F16), 65504.0);
        assert_eq!(cast_one(65520.0, DType::F16), f64::INFINITY);
        assert_eq!(cast_one(1e300, DType::BF16), f64::INFINITY);
        assert_eq!(cast_one(f64::NEG_INFINITY, DType::F16), f64::NEG_INFINITY);
        assert!(cast_one(f64::NAN, DType::BF16).is_nan());
        // Half of the smallest subnormal is a tie with zero; a hair more is not.
        assert_eq!(cast_one(2f64.powi(-25), DType::F16), 0.0);
        assert_eq!(cast_one(2f64.powi(-25) * (1.0 + 1e-12), DType::F16), 2f64.powi(-24));
        assert_eq!(cast_one(-0.0, DType::F16).to_bits(), (-0.0f64).to_bits());
        assert_eq!(cast_one(1e-320, DType::BF16), 0.0);
    }

    #[test]
    fn every_half_survives_the_way_to_f32_and_back() {
        let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|x| !x.is_nan()).collect();
        let n = halves.len();
        let data = TensorData::new(halves.clone(), [n]);
        for wide in [DType::F32, DType::F64] {
            let back = cast(cast(data.clone(), wide).unwrap(), DType::F16).unwrap();
            assert_eq!(back.as_slice::<f16>().unwrap(), halves);
        }
        let brains: Vec<bf16> =
            (0..=u16::MAX).map(bf16::from_bits).filter(|x| !x.is_nan()).collect();
        let n = brains.len();
        let data = TensorData::new(brains.clone(), [n]);
        let back = cast(cast(data, DType::F64).unwrap(), DType::BF16).unwrap();
        assert_eq!(back.as_slice::<bf16>().unwrap(), brains);
    }

    #[test]
    fn integers_become_floats() {
        let data = TensorData::new(vec![-3i64, 70000], [2]);
        assert_eq!(to_f32("f".as_ref(), "k", &data).unwrap(), [-3.0, 70000.0]);
        assert_eq!(to_f64("f".as_ref(), "k", &data).unwrap(), [-3.0, 70000.0]);
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_named() {
        let data =
            TensorData::new([1.0, f32::INFINITY, f32::NAN].map(bf16::from_f32).to_vec(), [3]);
        let error = check_finite("a.safetensors".as_ref(), "x.alpha", &data).unwrap_err();
        assert!(matches!(error, FileError::NotFinite { index: 1, value: f64::INFINITY, .. }));
        let message = error.to_string();
        assert!(message.starts_with("a.safetensors: tensor \"x.alpha\" is inf at element 1;"));
        check_finite("f".as_ref(), "k", &TensorData::new(vec![1i32], [1])).unwrap();
    }
}
