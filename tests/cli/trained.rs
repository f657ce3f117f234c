//! What `train` writes is what LyCORIS was found to load; see `tests/reference/check_trained.py`.

use std::fs;

use higanbana_adapters::registry;
use serde_json::Value;

use super::{
    formula::fnv,
    reference::{folder, write_pipeline},
    run::Desk,
};

#[test]
fn trainings_write_what_lycoris_was_given() {
    let desk = Desk::new();
    write_pipeline("sd", &desk.path("model"));
    let reference = folder("../training");
    fs::copy(reference.join("run.toml"), desk.path("run.toml")).unwrap();
    let images = reference.join("images").display().to_string();
    let findings: Vec<Value> =
        serde_json::from_str(include_str!("../reference/trained.json")).unwrap();
    for finding in &findings {
        let [algorithm, options] =
            ["algorithm", "options"].map(|key| finding[key].as_str().unwrap());
        let options = options.replace(' ', "");
        desk.run(&format!(
            "train run.toml --overwrite --set data.concepts.0.folder={images} \
             --set adapter.algorithm={algorithm} --set adapter.options={{{options}}}"
        ))
        .succeeds();
        let file = desk.open("runs/run/adapter.safetensors");
        let mut names: Vec<&String> = file.names().iter().collect();
        names.sort();
        let shapes =
            names.iter().map(|name| format!("{name} {:?}", file.info(name).unwrap().shape));
        let table = format!("{:016x}", fnv(&shapes.collect::<Vec<_>>().join("\n")));
        assert_eq!(finding["table"], table, "{algorithm}; run check_trained.py");
        let values = names
            .iter()
            .flat_map(|name| file.read(name).unwrap().iter::<f64>().collect::<Vec<_>>());
        let norm = values.map(|x| x * x).sum::<f64>().sqrt();
        let judged = finding["norm"].as_f64().unwrap();
        assert!((norm / judged - 1.0).abs() < 1e-4, "{algorithm}: {norm} {judged}");

        // IA3 files are the one kind that LyCORIS cannot load, not even its own.
        let expected = if algorithm == "ia3" { "error" } else { "exact" };
        assert_eq!(finding["loads"], expected, "{finding}");
    }
    let judged = |name: &str| findings.iter().any(|finding| finding["algorithm"] == name);
    // Norms have adapters of their own in presets alone; LyCORIS has no OFTv2.
    let others = ["norm", "oftv2"];
    let registry = registry();
    let mut names = registry.iter().map(|kind| kind.name());
    let missing = names.find(|name| !judged(name) && !others.contains(name));
    assert_eq!(missing, None, "run check_trained.py");
}
