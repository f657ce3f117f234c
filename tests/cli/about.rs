//! Commands that say what there is and what it does.

use serde_json::Value;

use super::run::Desk;

#[test]
fn algorithms_are_listed_and_described() {
    let desk = Desk::new();
    let json = desk.run("adapters --json").json();
    let names: Vec<_> = json.as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    let known: Vec<Value> =
        higanbana_adapters::registry().iter().map(|kind| kind.name().into()).collect();
    assert_eq!(names, known);
    let out = desk.run("adapters").succeeds();
    assert!(known.iter().all(|name| out.contains(name.as_str().unwrap())), "{out}");

    let out = desk.run("adapters").succeeds();
    assert!(out.contains("α/r W₁[l×m] ⊗ W₂[k×nK]") && out.contains("B[:, :p] A[:p, :]"), "{out}");

    let out = desk.run("adapters lokr").succeeds();
    assert!(out.starts_with("lokr: ") && out.contains("    full_matrix = false"), "{out}");
    // One algorithm under two names.
    assert_eq!(desk.run("adapters locon").succeeds(), desk.run("adapters lora").succeeds());
    let message = desk.misuse("adapters weft");
    assert!(message.starts_with("error: unknown algorithm `weft`: there are lora, "), "{message}");
}

#[test]
fn devices_are_listed() {
    let desk = Desk::new();
    let json = desk.run("devices --json").json();
    let flex = json.as_array().unwrap().iter().find(|device| device["name"] == "flex").unwrap();
    assert_eq!(flex["state"], "ready");
    let out = desk.run("devices").succeeds();
    assert!(out.lines().any(|line| line.starts_with("flex ") && line.ends_with("ready")), "{out}");
}

#[test]
fn reproduce_writes_results_and_a_page_that_needs_nothing_else() {
    let desk = Desk::new();
    let json = desk.run("reproduce adapters --out made --json").json();
    let rows = json.as_array().unwrap();
    assert_eq!(rows.len(), higanbana_lab::adapters::Fixtures::committed().cases.len());
    assert!(rows.iter().all(|row| row["deviation"].as_f64().unwrap() < 1e-5));
    let results = std::fs::read(desk.path("made/results/adapters.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&results).unwrap(), json);

    let page = std::fs::read_to_string(desk.path("made/adapters.html")).unwrap();
    assert!(page.contains("tlora_principal") && page.contains("<math"));
    for loads in ["<script", "<link", "src=", "@import", "url("] {
        assert!(!page.contains(loads), "the page has {loads}");
    }
}
