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

#[test]
fn wrong_usage_is_one_line_and_help_is_not() {
    let desk = Desk::new();
    for (arguments, said) in [
        (
            "inspekt a",
            "unrecognized subcommand 'inspekt'; tip: a similar subcommand exists: 'inspect'",
        ),
        ("inspect", "the following required arguments were not provided: <FILE>"),
        (
            "merge base",
            "the following required arguments were not provided: --output <OUT>, <ADAPTER[:MU]>...",
        ),
        ("inspect a --deep", "unexpected argument '--deep' found"),
        ("merge b a:one -o", "a value is required for '--output <OUT>' but none was supplied"),
        (
            "extract b t -o o --adapter lora --rank 1 --dtype f8",
            "invalid value 'f8' for '--dtype <TYPE>' [possible values: f32, f16, bf16]",
        ),
        ("resize a -o b --rank none", "invalid value 'none' for '--rank <R>': a rank is a whole"),
    ] {
        let message = desk.misuse(arguments);
        assert!(message.starts_with(&format!("error: {said}")), "{message}");
        assert!(message.ends_with("; try --help\n"), "{message}");
    }
    let help = desk.run("merge --help").succeeds();
    assert!(help.contains("Example: higanbana merge ") && help.contains("\nUsage: "), "{help}");
    let version = concat!("higanbana ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(desk.run("--version").succeeds(), version);
}
