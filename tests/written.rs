//! The files that we write are those that LyCORIS was found to load.

#[path = "../crates/higanbana/examples/write_files.rs"]
mod write_files;

use std::collections::BTreeSet;

use higanbana::{
    adapters::registry,
    io::{Checkpoint, refit::Choice},
};
use serde_json::Value;
use write_files::{manifest, reference, rewrite};

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
