//! `run`, `sweep` and `reproduce` into folders that hold files of others.

use std::{fs, path::Path};

use higanbana_io::{ledger::Ledger, run::Run};

use super::planted::{Planted, kill};
use crate::cli::run::Desk;

/// An hour, and more.
const LONG: usize = 50_000_000;

/// A plan of runs of so many steps, and the names of their folders.
pub fn planned(desk: &Desk, steps: &[usize]) -> Vec<String> {
    let text = "experiment = \"fit\"\nparameters = { rows = 8, cols = 6, adapter = \"lora\" }\n";
    desk.bytes("fit.toml", format!("{text}axes.steps = {steps:?}").as_bytes());
    desk.run("sweep plan fit.toml -o plan.jsonl").succeeds();
    let plan = fs::read_to_string(desk.path("plan.jsonl")).unwrap();
    let name = |line: &str| {
        let run: serde_json::Value = serde_json::from_str(line).unwrap();
        format!("runs/{}", run["run"].as_str().unwrap())
    };
    plan.lines().map(name).collect()
}

#[test]
fn a_planned_run_is_refused_where_files_of_others_stand() {
    for name in
        ["run.toml", "metrics.jsonl", "error.txt", "checkpoints/sd15.safetensors", "run.toml/a"]
    {
        let desk = Desk::new();
        let folder = planned(&desk, &[40]).swap_remove(0);
        let mut planted = Planted::on(&desk);
        planted.files(&[&format!("{folder}/{name}"), "runs/notes.txt", &format!("{folder}/mine")]);
        let error = planted.refuse("run --plan plan.jsonl --index 0");
        let first = name.split('/').next().unwrap();
        assert!(error.starts_with(&format!("{folder}/{first}: ")), "{error}");
        desk.run("sweep submit plan.jsonl --engine local --go").fails();
        desk.run("sweep collect plan.jsonl -o table.csv").reports();
        planted.are_there();
    }
}

#[test]
fn a_killed_run_goes_on_between_files_of_others() {
    let desk = Desk::new();
    let folders = planned(&desk, &[40, LONG]);
    let mut planted = Planted::on(&desk);
    planted.files(&[&format!("{}/notes.txt", folders[1]), &format!("{}/notes.txt", folders[0])]);
    let metrics = desk.path(&folders[1]).join("metrics.jsonl");
    let run = "run --plan plan.jsonl --index 1";
    kill(&desk, run, &metrics, 1..=usize::MAX);
    let error = format!("{}/error.txt", folders[1]);
    planted.files(&[&error]);
    assert!(planted.refuse(run).starts_with(&format!("{error}: ")));
    planted.take(&error);
    kill(&desk, run, &metrics, 1..=usize::MAX);
    desk.run("run --plan plan.jsonl --index 0").succeeds();
    planted.are_there();
    // Of a run that is done nothing is written any more.
    planted.files(&[&format!("{}/error.txt", folders[0])]);
    assert!(desk.run("run --plan plan.jsonl --index 0").succeeds().ends_with(": was done\n"));
    let result = format!("{}/result.json", folders[0]);
    planted.misuse(&format!("sweep collect plan.jsonl --overwrite -o {result}"));
    planted.are_there();
}

#[test]
fn reproduce_writes_between_files_of_others_and_over_none() {
    let desk = Desk::new();
    let mut planted = Planted::on(&desk);
    planted.files(&["a/adapters.html", "b/results/adapters.json", "c/results", "e/index.html"]);
    planted.link("d/results", "b/results");
    for (arguments, first) in [
        ("adapters --out a", "a/adapters.html: "),
        ("adapters --out b", "b/results: "),
        ("adapters --out c", "c/results: "),
        ("adapters --out d", "d/results: "),
        ("all --out e", "e/index.html: "),
        ("--out a", "a/adapters.html: "),
    ] {
        let error = planted.refuse(&format!("reproduce {arguments}"));
        assert!(error.starts_with(first), "{error}");
    }
    for (chapter, name) in
        [("gamma", "gamma.json"), ("rank", "rank/mine"), ("spectra", "spectra.html")]
    {
        planted.files(&[&format!("{chapter}/{name}")]);
        let error = planted.refuse(&format!("reproduce {chapter} --out {chapter}"));
        let first = name.split('/').next().unwrap();
        assert!(error.starts_with(&format!("{chapter}/{first}: ")), "{error}");
    }
    planted.files(&["out/gamma.json", "out/index.html"]);
    desk.run("reproduce adapters --out out").succeeds();
    planted.files(&["out/results/mine.json"]);
    desk.run("reproduce adapters --out out").succeeds();
    planted.are_there();
}

/// The committed experiments are made again where they lie.
#[test]
fn committed_results_are_the_toolkits_own() {
    let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    for (folder, names) in [
        ("00-adapters", ["results/adapters.json", "adapters.html"]),
        ("01-gamma-equivalence", ["gamma.json", "gamma.html"]),
        ("02-rank", ["rank.json", "rank.html"]),
        ("03-expressivity", ["expressivity.json", "expressivity.html"]),
        ("04-spectra-of-training", ["spectra.json", "spectra.html"]),
        ("05-initialisation", ["initialisation.json", "initialisation.html"]),
    ] {
        let folder = experiments.join(folder);
        Ledger::check(&folder, &names).unwrap();
        assert!(names.iter().all(|name| folder.join(name).exists()));
    }
    assert!(Run::check(&experiments.join("00-adapters"), &["README.md".into()]).is_err());
}
