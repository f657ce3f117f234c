//! The committed numbers are those that the code gives: some runs of each chapter are performed again, and held
//! against what is committed as `higanbana reproduce --check` does with all of them.

use std::{fs, path::Path};

use burn::tensor::Device;
use higanbana::{
    adapters::registry,
    lab::{
        adapters::{self, NUMBERS},
        chapter::{Chapter, perform},
        compare::{differences, name},
        experiment::Lab,
        expressivity::Expressivity,
        initialisation::Initialisation,
        numbers::Numbers,
        rank::Rank,
        report,
        spectra::{Setting, Spectra},
        sweep::Plan,
    },
};
use serde_json::Value;

fn committed(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// That results are those of the committed runs of the same names.
fn are_found(kinds: &[Numbers], file: &str, found: &str) {
    let found: Vec<Value> = serde_json::from_str(found).unwrap();
    let names: Vec<_> = found.iter().map(name).collect();
    let same: Vec<Value> =
        committed(file).into_iter().filter(|run| names.contains(&name(run))).collect();
    let differences = differences(kinds, &same.into(), &found.into());
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{file}:\n{}", lines.join("\n"));
}

/// Performs the runs of the plan that are kept, as many as that, again.
fn again<C: Chapter>(file: &str, runs: usize, keep: impl Fn(&C::Parameters) -> bool) {
    let lab = Lab::new(Device::flex());
    let kept: Vec<_> = C::plan(&lab, false).unwrap().into_iter().filter(keep).collect();
    assert_eq!(kept.len(), runs, "{file}");
    let plan = Plan::of::<C>(&kept).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let done = perform::<C>(&lab, &plan, folder.path(), |_, _| ()).unwrap();
    assert_eq!(done.failures, [""; 0]);
    are_found(C::NUMBERS, file, &done.results);
}

#[test]
fn every_file_of_lycoris_deviates_as_committed() {
    let rows = adapters::run(&registry(), &Device::flex(), |_| ()).unwrap();
    let found = report::results(&rows).unwrap();
    are_found(NUMBERS, "00-adapters/results/adapters.json", &found);
}

#[test]
fn ranks_are_as_committed() {
    again::<Rank>("02-rank/rank.json", 8, |run| {
        let is_layer = [&[32, 32][..], &[320, 4, 3, 3]].contains(&&run.shape[..]);
        let is_whole = run.factor.is_none_or(|factor| factor == -1);
        is_layer && is_whole && ["lora", "lokr", "ia3", "diag-oft"].contains(&&*run.adapter)
    });
}

#[test]
fn approximations_are_as_committed() {
    let runs =
        [("lora", "gaussian"), ("lokr", "kronecker"), ("ia3", "trained"), ("loha", "low-rank")];
    again::<Expressivity>("03-expressivity/expressivity.json", runs.len(), |run| {
        runs.contains(&(&run.adapter, &run.family))
    });
}

#[test]
fn trained_spectra_are_as_committed() {
    again::<Spectra>("04-spectra-of-training/spectra.json", 3, |run| {
        run.seed == 0
            && match run.setting {
                Setting::Regression { .. } => ["lora", "boft"].contains(&&*run.adapter),
                Setting::Unet { .. } => run.adapter == "ia3",
            }
    });
}

#[test]
fn first_steps_are_as_committed() {
    again::<Initialisation>("05-initialisation/initialisation.json", 5, |run| {
        ["lora", "glora", "ia3"].contains(&&*run.adapter)
    });
}
