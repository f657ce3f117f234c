//! `reproduce --check`: what is committed is found again, and where it is not the place is named.

use std::{fs, path::Path};

use serde_json::Value;

use super::run::Desk;

const FILE: &str = "00-adapters/results/adapters.json";

/// The committed results of a chapter, with a change.
fn committed(desk: &Desk, change: impl Fn(&mut Vec<Value>)) {
    let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let mut rows = serde_json::from_slice(&fs::read(experiments.join(FILE)).unwrap()).unwrap();
    change(&mut rows);
    let path = desk.path("experiments").join(FILE);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, serde_json::to_vec(&rows).unwrap()).unwrap();
}

#[test]
fn what_is_committed_is_found_again() {
    let desk = Desk::new();
    committed(&desk, |rows| rows.reverse());
    let before = desk.listing();
    let said = desk.run("reproduce adapters --check").succeeds();
    assert_eq!(said, format!("experiments/{FILE}: found again\n"));
    assert_eq!(desk.listing(), before);
}

#[test]
fn what_differs_is_named() {
    let desk = Desk::new();
    committed(&desk, |rows| {
        rows[0]["rank"] = 77.into();
        rows[0]["deviation"] = 1e-3.into();
        rows.remove(1);
    });
    let case = |index: usize| {
        let rows = desk.run("reproduce adapters --out made --json").json();
        rows[index]["case"].as_str().unwrap().to_string()
    };
    let (first, second) = (case(0), case(1));
    let [said, error] = desk.run("reproduce adapters --check=experiments").reports();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    let at = |case: &str, rest: &str| format!("experiments/{FILE}: {case}: {rest}");
    assert!(lines[0].starts_with(&at(&first, "deviation: committed 0.001, found ")), "{said}");
    assert!(lines[0].ends_with(", further apart than 1.0e-4"), "{said}");
    assert!(lines[1].starts_with(&at(&first, "rank: committed 77, found ")), "{said}");
    assert!(lines[2].starts_with(&at(&second, "committed nothing, found an object of ")), "{said}");
    assert_eq!(error, format!("experiments/{FILE}: differs in 3 places"));

    let run = desk.run("reproduce adapters --check --json");
    let found: Value = serde_json::from_str(&run.out()).unwrap();
    assert_eq!((run.code(), &found[0]["differences"][1]["committed"]), (Some(1), &77.into()));
}

#[test]
fn what_is_not_there_is_told_before_anything_is_measured() {
    let desk = Desk::new();
    let refusal = desk.refusal("reproduce gamma --check");
    let file = "experiments/01-gamma-equivalence/gamma.json";
    let said = format!("{file}: cannot be read; name the folder of experiments as --check=DIR");
    assert!(refusal.starts_with(&said), "{refusal}");
    desk.misuse("reproduce rank --check --full");
    desk.misuse("reproduce rank --check --out made");
}
