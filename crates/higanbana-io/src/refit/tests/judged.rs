//! What diffusers and PEFT were found to load and to act with is what is converted now.

use sha2::{Digest, Sha256};

use super::*;

fn convert(path: &Path, to: Dialect, base: Option<&Path>, out: &Path) {
    let registry = registry();
    let how = Convert {
        registry: &registry,
        to,
        base,
        bake: None,
        device: Device::flex(),
        compute: DType::F32,
    };
    let converted = how.run(path, |_, _| ()).unwrap();
    assert_eq!(converted.leftovers, []);
    converted.file.write(out, true).unwrap();
}

#[test]
fn a_converted_file_is_the_one_that_its_readers_were_given() {
    let text = std::fs::read_to_string(reference("names.json")).unwrap();
    let findings: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(findings.len(), 6);
    let files = Files::new();
    for finding in findings {
        let name = finding["file"].as_str().unwrap();
        assert!(finding["deviation"].as_f64().unwrap() < 1e-5, "{finding}");
        let out = files.path("adapter_model.safetensors");
        if name == "peft_dora" {
            let base = reference("names/base.safetensors");
            let kohya = files.path("kohya");
            let source = reference("names/peft_dora/adapter_model.safetensors");
            convert(&source, Dialect::Kohya, Some(&base), &kohya);
            convert(&kohya, Dialect::Peft, Some(&base), &out);
        } else {
            let folder = if name.ends_with("kohya") { "diffusion/loras" } else { "names" };
            let source = reference(&format!("{folder}/{name}.safetensors"));
            convert(&source, Dialect::Diffusers, None, &out);
        }
        let hash = format!("{:x}", Sha256::digest(std::fs::read(&out).unwrap()));
        assert_eq!(finding["sha256"], hash, "{name}; run check_names.py");
    }
}
