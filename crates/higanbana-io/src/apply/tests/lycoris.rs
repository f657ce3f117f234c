//! Merged, every file of LyCORIS gives the weights that LyCORIS's forward pass acts with.

use serde_json::Value;

use super::*;
use crate::AdapterReader;

/// Relative Frobenius norm, in f32.
const TOLERANCE: f64 = 1e-5;

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/lycoris").join(name)
}

fn manifest() -> Vec<Value> {
    let text = std::fs::read_to_string(reference("manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The adapter file of a case; where LyCORIS does not save all that acts, with the rest.
fn adapter(files: &Files, case: &Value) -> PathBuf {
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
fn deviation(files: &Files, case: &Value, strength: f64, dtype: DType) -> f64 {
    let name = case["case"].as_str().unwrap();
    let base = Checkpoint::open(reference("base.safetensors")).unwrap();
    let expected = Checkpoint::open(reference(&format!("{name}.expected.safetensors"))).unwrap();
    let adapter = adapter(files, case);
    let (left, merged) = files.merge(base.path(), &[(&adapter, strength)], dtype).unwrap();
    assert_eq!(left, [], "{name}");
    assert_eq!(merged.metadata(), base.metadata());
    let mut worst = 0.0f64;
    let mut compared = 0;
    for key in base.names() {
        let name_there = format!("{key}@{strength}");
        if expected.info(&name_there).is_some() {
            let (a, b) = (values(&merged, key), values(&expected, &name_there));
            worst = worst.max(relative(&a, &b));
            compared += 1;
        } else {
            assert_eq!(merged.read_bytes(key).unwrap(), base.read_bytes(key).unwrap(), "{key}");
        }
    }
    let there = expected.names().iter().filter(|key| key.ends_with(&format!("@{strength}")));
    assert_eq!(compared, there.count(), "{name}");
    worst
}

#[test]
fn every_file_merges_to_the_weights_that_lycoris_acts_with() {
    let files = Files::new();
    for case in manifest() {
        for strength in case["strengths"].as_array().unwrap() {
            let deviation = deviation(&files, &case, strength.as_f64().unwrap(), DType::F32);
            println!("{} at {strength}: {deviation:.1e}", case["case"]);
            assert!(deviation <= TOLERANCE, "{} at {strength}: {deviation:.1e}", case["case"]);
        }
    }
}

#[test]
fn precise_merges_agree_too() {
    let files = Files::new();
    for case in manifest().iter().filter(|case| case["saved_dtype"] == "f32") {
        let deviation = deviation(&files, case, 1.0, DType::F64);
        assert!(deviation <= TOLERANCE, "{}: {deviation:.1e}", case["case"]);
    }
}

#[test]
fn every_file_is_understood_to_its_last_tensor() {
    let registry = registry();
    for case in manifest() {
        let name = case["case"].as_str().unwrap();
        let path = reference(&format!("{name}.safetensors"));
        let reader = AdapterReader::open(path, &stems(&registry)).unwrap();
        assert_eq!(reader.unused(), [], "{name}");
        assert_eq!(reader.modules().count(), case["layers"].as_array().unwrap().len(), "{name}");
    }
}
