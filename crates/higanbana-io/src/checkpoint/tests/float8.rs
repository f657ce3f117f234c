//! 8-bit floats, by ml_dtypes and torch: `tests/reference/make_formats.py`.

use burn::tensor::DType;

use super::file;
use crate::{Checkpoint, Dtype, float8, testing::reference};

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(reference(&format!("formats/{name}.safetensors"))).unwrap()
}

fn values(file: &Checkpoint, key: &str) -> Vec<f32> {
    file.read(key).unwrap().iter().collect()
}

#[test]
fn every_value_of_both_types_is_read_exactly() {
    for name in ["e4m3", "e5m2"] {
        let file = open(name);
        assert_eq!(file.read(name).unwrap().dtype(), DType::F16);
        let (read, expected) = (values(&file, name), values(&file, &format!("{name}.values")));
        assert_eq!(read.len(), 256);
        for (bits, (value, expected)) in read.into_iter().zip(expected).enumerate() {
            // NaN has no equal and stands as 12345 in the file.
            let same = if expected == 12345.0 {
                value.is_nan()
            } else {
                value.to_bits() == expected.to_bits()
            };
            assert!(same, "{name} {bits:#04x}: {value} is not {expected}");
        }
    }
}

#[test]
fn rounding_gives_the_nearest() {
    for name in ["e4m3", "e5m2"] {
        let file = open(name);
        let dtype = file.info(name).unwrap().dtype;
        let mut all = values(&file, name);
        all.retain(|value| value.is_finite());
        all.sort_by(f32::total_cmp);
        for pair in all.windows(2) {
            let [a, b] = [pair[0], pair[1]];
            assert_eq!(float8::rounded(dtype, a), a);
            assert_eq!(float8::rounded(dtype, a + (b - a) * 0.375), a);
            assert_eq!(float8::rounded(dtype, a + (b - a) * 0.625), b);
        }
    }
}

#[test]
fn scales_are_obeyed() {
    let (file, expected) = (open("scaled"), open("scaled_expected"));
    for name in ["one", "rows", "bare"] {
        let key = format!("model.diffusion_model.{name}.weight");
        assert_eq!(values(&file, &key), values(&expected, name), "{name}");
        let dtype = if name == "bare" { Dtype::F16 } else { Dtype::F32 };
        assert_eq!(file.dtype_read(&key), Some(dtype));
    }
}

#[test]
fn scales_that_are_not_understood_are_refused() {
    for (header, what) in [
        (
            r#"{"a.weight":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[0,4]},"a.weight_scale_inv":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
            r#"tensor "a.weight" is quantised, as "a.weight_scale_inv" tells"#,
        ),
        (
            r#"{"a.weight":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[0,4]},"a.scale_weight":{"dtype":"F32","shape":[3],"data_offsets":[4,16]}}"#,
            r#"tensor "a.scale_weight" has shape [3], one scale for the tensor, or one for each row, is"#,
        ),
    ] {
        let (_folder, path) = file(header, if what.contains("inv") { 8 } else { 16 });
        let message = Checkpoint::open(path).unwrap().read("a.weight").unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
    }
}
