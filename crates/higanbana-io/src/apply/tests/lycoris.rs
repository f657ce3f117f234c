//! Merged, every file of LyCORIS gives the weights that LyCORIS's forward pass acts with.

use serde_json::Value;

use super::*;
use crate::AdapterReader;

/// Relative Frobenius norm, in f32.
const TOLERANCE: f64 = 1e-5;

pub fn reference(name: &str) -> PathBuf {
    crate::testing::reference("lycoris").join(name)
}

pub fn manifest() -> Vec<Value> {
    let text = std::fs::read_to_string(reference("manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The adapter file of a case; where LyCORIS does not save all that acts, with the rest.
pub fn adapter(files: &Files, case: &Value) -> PathBuf {
    let name = case["case"].as_str().unwrap();
    let path = reference(&format!("{name}.safetensors"));
    let Some(rest) = case["base_file"].as_str() else { return path };
    let mut tensors = BTreeMap::new();
    for part in [path, reference(rest)] {
        let part = Checkpoint::open(part).unwrap();
        let read = |key: &String| (key.clone(), part.read(key).unwrap());
        tensors.extend(part.names().iter().map(read));
    }
    write_tensors(&files.path(name), &tensors, &BTreeMap::new(), true).unwrap();
    files.path(name)
}

/// Merges a case and compares every tensor; the largest deviation.
fn deviation(
    files: &Files,
    case: &Value,
    strength: f64,
    dtype: DType,
) -> Result<f64, Box<dyn std::error::Error>> {
    let name = case["case"].as_str().unwrap();
    let base = Checkpoint::open(reference("base.safetensors"))?;
    let expected = Checkpoint::open(reference(&format!("{name}.expected.safetensors")))?;
    let adapter = adapter(files, case);
    let (left, merged) = files.merge(base.path(), &[(&adapter, strength)], dtype)?;
    assert_eq!(left, [], "{name}");
    assert_eq!(merged.metadata(), base.metadata());
    let mut worst = 0.0f64;
    let mut compared = 0;
    for key in base.names() {
        let there = format!("{key}@{strength}");
        if expected.info(&there).is_some() {
            worst = worst.max(relative(&values(&merged, key), &values(&expected, &there)));
            compared += 1;
        } else {
            assert_eq!(merged.read_bytes(key)?, base.read_bytes(key)?, "{key}");
        }
    }
    let there = expected.names().iter().filter(|key| key.ends_with(&format!("@{strength}")));
    assert_eq!(compared, there.count(), "{name}");
    Ok(worst)
}

/// Merges every case at the strengths that `wanted` picks from its own.
fn all_agree(dtype: DType, wanted: impl Fn(f64) -> bool) {
    let files = Files::new();
    let mut faults = Vec::new();
    for case in manifest() {
        let strengths = case["strengths"].as_array().unwrap().iter().filter_map(Value::as_f64);
        for strength in strengths.filter(|&strength| wanted(strength)) {
            match deviation(&files, &case, strength, dtype) {
                Ok(deviation) if deviation <= TOLERANCE => (),
                Ok(deviation) => {
                    faults.push(format!("{} @{strength}: {deviation:.1e}", case["case"]))
                }
                Err(error) => faults.push(format!("{} @{strength}: {error}", case["case"])),
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_file_merges_to_the_weights_that_lycoris_acts_with() {
    all_agree(DType::F32, |_| true);
}

#[test]
fn precise_merges_agree_too() {
    all_agree(DType::F64, |strength| strength == 1.0);
}

#[test]
fn every_file_is_understood_to_its_last_tensor() {
    for case in manifest() {
        let reader = AdapterReader::open(adapter(&Files::new(), &case), &registry()).unwrap();
        assert_eq!(reader.unused(), [], "{}", case["case"]);
        assert_eq!(reader.modules().count(), case["layers"].as_array().unwrap().len());
    }
}
