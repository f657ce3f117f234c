//! The files that we write are those that LyCORIS was found to load.

#[path = "../crates/higanbana/examples/write_files.rs"]
mod write_files;

use std::collections::BTreeSet;

use higanbana::{
    adapters::registry,
    io::{Checkpoint, Dtype, refit::Choice},
};
use serde_json::Value;
use write_files::{extract, manifest, reference, rewrite};

/// What `tests/reference/check_written.py` found.
fn findings() -> Vec<Value> {
    serde_json::from_str(include_str!("reference/written.json")).unwrap()
}

fn finding(file: &str) -> Value {
    let found = findings().into_iter().find(|finding| finding["file"] == file);
    found.unwrap_or_else(|| panic!("{file} was not handed to LyCORIS; run check_written.py"))
}

#[test]
fn a_file_that_is_read_and_written_again_holds_the_same_values() {
    for case in manifest().unwrap() {
        let name = case["case"].as_str().unwrap();
        let original = Checkpoint::open(reference(&format!("{name}.safetensors"))).unwrap();
        let written = rewrite(&case).unwrap();
        for key in original.names() {
            let there = original.read(key).unwrap();
            let data = written.tensors.get(key).unwrap_or_else(|| panic!("{name}: no {key}"));
            // DyLoRA's convolutions are saved as matrices there, as other adapters' here.
            assert_eq!(data.dtype(), there.dtype(), "{name} {key}");
            assert_eq!(data.as_bytes(), there.as_bytes(), "{name} {key}");
        }
        let own: BTreeSet<_> = original.names().iter().collect();
        if written.tensors.keys().collect::<BTreeSet<_>>() == own {
            let hash = &finding(&format!("rewritten/{name}"))["hash"];
            assert_eq!(hash, &written.metadata["sshs_model_hash"], "{name}; run check_written.py");
        }
    }
}

/// What was judged is what is written now: names, shapes, types, and values up to the rounding that
/// the decompositions of other processors differ by.
#[test]
fn an_extracted_file_is_the_one_that_lycoris_was_given() {
    let folder = tempfile::tempdir().unwrap();
    extract(folder.path()).unwrap();
    for (name, _) in Choice::all(&registry()) {
        let written = Checkpoint::open(folder.path().join(format!("{name}.safetensors"))).unwrap();
        let found = finding(&format!("extracted/{name}"));
        let judged = found["tensors"].as_object().expect("run check_written.py");
        let keys: BTreeSet<_> = written.names().iter().collect();
        assert_eq!(keys, judged.keys().collect(), "{name}; run check_written.py");
        for (key, about) in judged {
            let info = written.info(key).unwrap();
            assert_eq!(about[0], serde_json::json!(info.shape), "{name} {key}");
            assert_eq!(
                (&about[1], info.dtype),
                (&"torch.float32".into(), Dtype::F32),
                "{name} {key}"
            );
            let values = written.read(key).unwrap();
            let norm = values.iter::<f64>().map(|x| x * x).sum::<f64>().sqrt();
            let there = about[2].as_f64().unwrap();
            assert!((norm - there).abs() <= 1e-4 * there, "{name} {key}: {norm} {there}");
        }
    }
}

#[test]
fn lycoris_acts_with_our_files_wherever_it_can_load_its_own() {
    for case in manifest().unwrap() {
        let name = case["case"].as_str().unwrap();
        let found = finding(&format!("rewritten/{name}"));
        let exact = found["loads"] == "exact" && found["deviation"].as_f64().unwrap() < 1e-6;
        assert!(exact || case["reload"] != "exact", "{found}");
    }
    for (name, _) in Choice::all(&registry()) {
        let found = finding(&format!("extracted/{name}"));
        assert_eq!(found["loads"], "exact", "{found}");
        assert!(found["layers"].as_u64().unwrap() > 0);
    }
}
