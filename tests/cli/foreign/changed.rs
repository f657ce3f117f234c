//! Files that a command wrote, and that somebody changed since: they are no more the command's to replace, and
//! a run is not done without them.

use std::fs;

use super::{
    planted::{Planted, kill},
    runs::planned,
};
use crate::cli::{run::Desk, train::desk};

const TRAIN: &str =
    "train run.toml -o out --set sample.every=6 --set sample.steps=1 --set sample.prompts=['lily']";

/// Puts something else there, lets that be tried, and puts it back.
fn meanwhile(desk: &Desk, name: &str, other: &[u8], attempt: impl FnOnce()) {
    let whole = fs::read(desk.path(name)).unwrap();
    fs::write(desk.path(name), other).unwrap();
    attempt();
    assert_eq!(fs::read(desk.path(name)).unwrap(), other);
    fs::write(desk.path(name), whole).unwrap();
}

#[test]
fn a_training_replaces_nothing_that_was_put_over_its_files() {
    let desk = desk();
    desk.run(TRAIN).succeeds();
    for name in [
        "run.toml",
        "metrics.jsonl",
        "result.json",
        "lily.safetensors",
        "samples.png",
        "samples/step-00000006.png",
        "events.out.tfevents.0000000000.higanbana",
        "checkpoints/step-00000012.safetensors",
    ] {
        let name = format!("out/{name}");
        meanwhile(&desk, &name, b"{\"mine\": 1}\n", || {
            let error = Planted::on(&desk).refuse(&format!("{TRAIN} --overwrite"));
            let expected = format!("{name}: was changed since it was written here, ");
            assert!(error.starts_with(&expected), "{error}");
            assert!(error.ends_with("name another folder, or move it away"), "{error}");
        });
    }
    desk.run(&format!("{TRAIN} --overwrite --set seed=1")).succeeds();
}

#[test]
fn a_killed_training_goes_on_from_its_own_files_alone() {
    let desk = desk();
    kill(&desk, TRAIN, &desk.path("out/metrics.jsonl"), 5..=11);
    let checkpoints = fs::read_dir(desk.path("out/checkpoints")).unwrap();
    let names = checkpoints.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("step-")).collect();
    names.sort();
    let last = format!("out/checkpoints/{}", names.pop().unwrap());
    let cut = fs::read(desk.path(&last)).unwrap()[..200].to_vec();
    for (name, other) in [(&*last, &cut[..]), ("out/metrics.jsonl", b"{\"step\":1}\n")] {
        meanwhile(&desk, name, other, || {
            for how in ["--resume", "--overwrite"] {
                let error = Planted::on(&desk).refuse(&format!("{TRAIN} {how}"));
                assert!(error.starts_with(&format!("{name}: was changed since")), "{error}");
            }
        });
    }
    desk.run(&format!("{TRAIN} --resume")).succeeds();
}

/// In a ledger that says what was written, and in one of an earlier version, which does not.
#[test]
fn a_training_whose_adapter_was_cut_off_is_not_done() {
    let desk = desk();
    desk.run(TRAIN).succeeds();
    let adapter = "out/lily.safetensors";
    let whole = fs::read(desk.path(adapter)).unwrap();
    let damaged = |expected: &str| {
        meanwhile(&desk, adapter, &whole[..whole.len() - 1], || {
            let error = desk.refusal(TRAIN);
            assert!(error.starts_with(&format!("{adapter}: {expected}")), "{error}");
            desk.refusal(&format!("{TRAIN} --report page.html"));
        });
    };
    damaged("was changed or cut off since its run wrote it");
    // The same length.
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    meanwhile(&desk, adapter, &changed, || {
        assert!(desk.refusal(TRAIN).contains("was changed or cut off since"));
    });
    let ledger = desk.path("out/higanbana.ledger");
    let text = fs::read_to_string(&ledger).unwrap();
    let name = |line: &str| match serde_json::from_str::<serde_json::Value>(line) {
        Ok(line) if line.is_object() => format!("{}\n", line["file"]),
        _ => format!("{line}\n"),
    };
    fs::write(&ledger, text.lines().map(name).collect::<String>()).unwrap();
    damaged("is truncated, ");
    desk.run(TRAIN).succeeds();
}

#[test]
fn a_planned_run_whose_result_was_changed_is_not_done() {
    let desk = Desk::new();
    let folder = planned(&desk, &[40]).swap_remove(0);
    let run = "run --plan plan.jsonl --index 0";
    desk.run(run).succeeds();
    let result = format!("{folder}/result.json");
    let text = fs::read_to_string(desk.path(&result)).unwrap();
    let changed = text.replacen("\"version\"", "\"Version\"", 1);
    assert_ne!(text, changed);
    meanwhile(&desk, &result, changed.as_bytes(), || {
        let expected = format!("{result}: was changed or cut off since its run wrote it");
        assert!(desk.refusal(run).starts_with(&expected));
        let [report, _] = desk.run("sweep collect plan.jsonl").reports();
        assert!(report.contains(" unreadable ") && report.contains("cut off"), "{report}");
        desk.run("sweep submit plan.jsonl --engine local --go").fails();
    });
    assert!(desk.run(run).succeeds().ends_with(": was done\n"));
}

#[test]
fn a_chapter_does_not_replace_a_page_that_was_changed() {
    let desk = Desk::new();
    let chapter = "reproduce adapters --out out";
    desk.run(chapter).succeeds();
    for name in ["out/adapters.html", "out/results/adapters.json"] {
        meanwhile(&desk, name, b"mine", || {
            let error = Planted::on(&desk).refuse(chapter);
            assert!(error.starts_with(&format!("{name}: was changed since")), "{error}");
        });
    }
    let ledger = fs::read(desk.path("out/higanbana.ledger")).unwrap();
    desk.run(chapter).succeeds();
    // The same files are listed once.
    assert_eq!(fs::read(desk.path("out/higanbana.ledger")).unwrap(), ledger);
}
