use std::{fs, io::Write, path::Path};

use serde_json::{Value, json};
use tempfile::tempdir;

use super::*;
use crate::ledger::LEDGER;

fn open(folder: &Path, configuration: &toml::Table) -> Run {
    match Run::begin(folder, configuration).unwrap() {
        Begun::Open(run) => run,
        Begun::Done(result) => panic!("done: {result}"),
    }
}

fn refused(folder: &Path, configuration: &toml::Table) -> String {
    Run::begin(folder, configuration).unwrap_err().to_string()
}

fn configuration() -> toml::Table {
    toml::toml! { adapter = "x" [fit] rate = 0.5 steps = 3 }
}

/// Half a line, as a kill leaves it.
fn tear(folder: &Path) {
    let mut file = fs::OpenOptions::new().append(true).open(folder.join(METRICS)).unwrap();
    file.write_all(b"{\"step\": 2, \"lo").unwrap();
}

#[test]
fn the_identity_is_the_sum_of_a_file() {
    let folder = tempdir().unwrap();
    drop(open(folder.path(), &configuration()));
    let text = fs::read_to_string(folder.path().join(CONFIGURATION)).unwrap();
    assert_eq!(text.parse::<toml::Table>().unwrap(), configuration());
    assert_eq!(identity(&configuration()), format!("{:x}", Sha256::digest(text)));
    // printf 'a = 1\n' | sha256sum
    let known = "cb78bd8a17f7b751fe0d4663366dcbc257204033ef7ddd64b1f2969573b5b2e2";
    assert_eq!(identity(&toml::toml! { a = 1 }), known);
    let other = tempdir().unwrap();
    assert_eq!(open(other.path(), &toml::toml! { a = 1 }).seed(), 0xcb78bd8a17f7b751);
}

#[test]
fn a_finished_run_is_not_run_again() {
    let folder = tempdir().unwrap();
    let identity = identity(&configuration());
    let state = || State::of(folder.path(), &identity).unwrap();
    assert_eq!(state(), State::Missing);
    let mut run = open(folder.path(), &configuration());
    assert_eq!(state(), State::Running);
    run.record(&json!({ "step": 0 })).unwrap();
    let result = run.finish(&json!({ "loss": 0.25, "diverged": f64::NAN })).unwrap();
    assert_eq!(result, json!({ "loss": 0.25, "diverged": null }));
    assert_eq!(state(), State::Done(result.clone()));
    match Run::begin(folder.path(), &configuration()).unwrap() {
        Begun::Done(found) => assert_eq!(found, result),
        Begun::Open(_) => panic!("it is done"),
    }
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [LEDGER, METRICS, RESULT, CONFIGURATION]);
}

#[test]
fn another_configuration_is_refused_by_its_key() {
    let folder = tempdir().unwrap();
    drop(open(folder.path(), &configuration()));
    let error = refused(folder.path(), &toml::toml! { adapter = "x" [fit] rate = 0.5 steps = 4 });
    assert!(
        error
            .ends_with(": holds a run with fit.steps = 3; name another folder, or remove this one")
    );
    let error = refused(folder.path(), &toml::toml! { adapter = "x" [fit] rate = 0.5 });
    assert!(error.contains("a run with fit.steps = 3;"), "{error}");
    let mut more = configuration();
    more.insert("seed".into(), 1.into());
    assert!(refused(folder.path(), &more).contains("a run with no seed;"));
    // Also one that is done.
    open(folder.path(), &configuration()).finish(&1).unwrap();
    assert!(refused(folder.path(), &more).contains("a run with another configuration;"));
    // Unless it is to go.
    let run = Run::begin_anew(folder.path(), &more).unwrap();
    assert_eq!(State::of(folder.path(), &identity(&more)).unwrap(), State::Running);
    run.finish(&2).unwrap();
    assert_eq!(State::of(folder.path(), &identity(&more)).unwrap(), State::Done(2.into()));
}

#[test]
fn one_process_at_a_time() {
    let folder = tempdir().unwrap();
    let run = open(folder.path(), &configuration());
    let error = refused(folder.path(), &configuration());
    assert!(
        error.ends_with("another process works on this run; wait for it, or stop it"),
        "{error}"
    );
    assert!(Run::begin_anew(folder.path(), &configuration()).is_err());
    drop(run);
    let state = State::of(folder.path(), &identity(&configuration())).unwrap();
    assert_eq!(state, State::Interrupted);
    drop(open(folder.path(), &configuration()));
}

#[test]
fn a_question_does_not_take_the_claim_away() {
    let folder = tempdir().unwrap();
    drop(open(folder.path(), &configuration()));
    let identity = identity(&configuration());
    std::thread::scope(|scope| {
        let ask = || (0..2000).for_each(|_| drop(State::of(folder.path(), &identity).unwrap()));
        let asking = scope.spawn(ask);
        while !asking.is_finished() {
            drop(open(folder.path(), &configuration()));
        }
    });
}

#[test]
fn a_killed_run_goes_on_from_whole_lines() {
    let folder = tempdir().unwrap();
    let mut run = open(folder.path(), &configuration());
    for step in 0..2 {
        run.record(&json!({ "step": step })).unwrap();
    }
    run.files().write_bytes("checkpoints/step-1", b"").unwrap();
    drop(run);
    tear(folder.path());
    let mut run = open(folder.path(), &configuration());
    assert_eq!(run.metrics().unwrap(), [json!({ "step": 0 }), json!({ "step": 1 })]);
    // The checkpoint is older than the last line.
    run.rewind(1).unwrap();
    run.record(&json!({ "step": 1, "again": true })).unwrap();
    assert_eq!(run.metrics().unwrap()[1], json!({ "step": 1, "again": true }));
    let text = fs::read_to_string(folder.path().join(METRICS)).unwrap();
    assert_eq!(text, "{\"step\":0}\n{\"step\":1,\"again\":true}\n");
}

#[test]
fn without_checkpoints_metrics_begin_anew() {
    let folder = tempdir().unwrap();
    let mut run = open(folder.path(), &configuration());
    run.record(&json!({ "step": 0 })).unwrap();
    drop(run);
    tear(folder.path());
    assert_eq!(open(folder.path(), &configuration()).metrics().unwrap(), Vec::<Value>::new());
}

#[test]
fn a_failure_is_written_down_and_tried_again() {
    let folder = tempdir().unwrap();
    let identity = identity(&configuration());
    open(folder.path(), &configuration()).fail("no\n  memory").unwrap();
    let state = || State::of(folder.path(), &identity).unwrap();
    assert_eq!(state(), State::Failed("no memory".into()));
    let run = open(folder.path(), &configuration());
    assert_eq!(state(), State::Running);
    run.finish(&0).unwrap();
    assert_eq!(state(), State::Done(0.into()));
    assert!(!folder.path().join(ERROR).exists());
}

#[test]
fn files_that_are_not_a_runs_own_are_named() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join(RESULT), "{\"run\": 3").unwrap();
    let error = refused(folder.path(), &configuration());
    assert!(error.contains("result.json: is no result of a run"), "{error}");
    assert!(error.ends_with("name another folder, or move it away"), "{error}");
    // A file where the folder should be.
    let error = refused(&folder.path().join(RESULT).join("a"), &configuration());
    assert!(error.contains("result.json/a"), "{error}");
}

/// What stood in a folder before a run, and under which of the names that a run writes.
#[test]
fn a_folder_that_is_not_a_runs_own_is_refused_as_it_is() {
    for name in [CONFIGURATION, METRICS, ERROR, "checkpoints/sd15.safetensors", "checkpoints"] {
        let folder = tempdir().unwrap();
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "mine").unwrap();
        let anew = Run::begin_anew(folder.path(), &configuration()).unwrap_err().to_string();
        for error in [refused(folder.path(), &configuration()), anew] {
            let first = folder.path().join(name.split('/').next().unwrap());
            assert!(error.starts_with(&format!("{}: ", first.display())), "{error}");
            assert!(error.contains("name another folder, or move it away"), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert!(!folder.path().join(LEDGER).exists());
    }
}

/// Files of others that come into the folder of a run stay there, whatever becomes of the run.
#[test]
fn a_run_that_begins_anew_removes_its_own_files_alone() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut run = open(folder.path(), &configuration());
    for name in ["checkpoints/step-1", "adapter"] {
        run.files().write_bytes(name, b"").unwrap();
    }
    drop(run);
    for name in ["checkpoints/sd15.safetensors", "notes.txt"] {
        fs::write(path(name), "mine").unwrap();
    }
    Run::begin_anew(folder.path(), &configuration()).unwrap().finish(&1).unwrap();
    assert!(!path("checkpoints/step-1").exists() && path("adapter").exists());
    for name in ["checkpoints/sd15.safetensors", "notes.txt"] {
        assert_eq!(fs::read(path(name)).unwrap(), b"mine");
    }
    // What takes the place of a file of the run is not the run's.
    fs::remove_file(path(RESULT)).unwrap();
    fs::create_dir(path(RESULT)).unwrap();
    let error = Run::begin_anew(folder.path(), &configuration()).unwrap_err().to_string();
    assert!(error.contains("result.json: "), "{error}");
}

/// A run of an earlier version: what is done is read, what is not cannot be told from files of others.
#[test]
fn a_run_without_a_ledger_is_read() {
    let folder = tempdir().unwrap();
    open(folder.path(), &configuration()).finish(&3).unwrap();
    fs::remove_file(folder.path().join(LEDGER)).unwrap();
    let state = || State::of(folder.path(), &identity(&configuration())).unwrap();
    assert_eq!(state(), State::Done(3.into()));
    assert!(matches!(Run::begin(folder.path(), &configuration()), Ok(Begun::Done(_))));
    fs::remove_file(folder.path().join(RESULT)).unwrap();
    assert_eq!(state(), State::Interrupted);
    assert!(refused(folder.path(), &configuration()).contains("higanbana.ledger does not list it"));
}

#[test]
fn a_run_goes_on_to_a_later_end_alone() {
    let folder = tempdir().unwrap();
    let asked = |text: &str| text.parse::<toml::Table>().unwrap();
    let two = asked("seed = 1\n[train]\nsteps = 2");
    let mut run = open(folder.path(), &two);
    run.record(&1).unwrap();
    run.files().write_bytes("checkpoints/step-2", b"").unwrap();
    run.finish(&2).unwrap();
    let keys = ["train.steps", "train.epochs"];
    for (text, expected) in [
        ("seed = 1\n[train]\nsteps = 3", true),
        ("seed = 1\n[train]\nsteps = 2", false),
        ("seed = 1\n[train]\nsteps = 1", false),
        ("seed = 2\n[train]\nsteps = 3", false),
        ("seed = 1\n[train]\nepochs = 3", false),
        ("seed = 1\n[train]\nsteps = 3\nepochs = 1", false),
        ("seed = 1\nsteps = 3", false),
    ] {
        assert_eq!(Run::extends(folder.path(), &asked(text), &keys), expected, "{text}");
    }
    let three = asked("seed = 1\n[train]\nsteps = 3");
    assert!(refused(folder.path(), &three).contains("holds a run with"));
    Run::extend(folder.path(), &three).unwrap();
    let run = open(folder.path(), &three);
    assert_eq!(run.metrics().unwrap(), [1]);
    run.finish(&3).unwrap();
    assert!(matches!(Run::begin(folder.path(), &three), Ok(Begun::Done(result)) if result == 3));
}

#[test]
fn a_run_whose_product_was_cut_off_is_not_done() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut run = open(folder.path(), &configuration());
    run.record(&1).unwrap();
    let products = ["adapter", "below/page", RESULT];
    for name in &products[..2] {
        run.files().write_bytes(name, b"a product").unwrap();
    }
    run.files().write_bytes("checkpoints/step-1", b"").unwrap();
    run.finish(&1).unwrap();
    let state = || State::of(folder.path(), &identity(&configuration()));
    for name in products {
        let whole = fs::read(path(name)).unwrap();
        for damaged in [&whole[..whole.len() - 1], b""] {
            // A result that is cut off is none.
            let damaged = if name == RESULT { &[&whole[..], b" "].concat() } else { damaged };
            fs::write(path(name), damaged).unwrap();
            let error = refused(folder.path(), &configuration());
            let expected = format!("{}: was changed or cut off since", path(name).display());
            assert!(error.starts_with(&expected), "{error}");
            assert!(matches!(state(), Err(RunError::Damaged { .. })), "{name}");
        }
        fs::write(path(name), whole).unwrap();
        assert_eq!(state().unwrap(), State::Done(1.into()));
    }
    // What a run keeps for itself is no product, and what is gone was removed.
    fs::write(path("checkpoints/step-1"), "changed").unwrap();
    fs::write(path(METRICS), "changed").unwrap();
    fs::remove_file(path("adapter")).unwrap();
    assert_eq!(state().unwrap(), State::Done(1.into()));
}

/// A run that was killed keeps its metrics, and not those that somebody put in their place.
#[test]
fn metrics_of_others_are_not_gone_on_from() {
    let folder = tempdir().unwrap();
    let metrics = folder.path().join(METRICS);
    let mut run = open(folder.path(), &configuration());
    for step in 0..3 {
        run.record(&json!({ "step": step })).unwrap();
    }
    run.files().write_bytes("checkpoints/step-3", b"").unwrap();
    drop(run);
    assert_eq!(open(folder.path(), &configuration()).metrics().unwrap().len(), 3);
    let own = fs::read(&metrics).unwrap();
    fs::write(&metrics, "{\"step\":7}\n").unwrap();
    let anew = Run::begin_anew(folder.path(), &configuration()).unwrap_err().to_string();
    for error in [refused(folder.path(), &configuration()), anew] {
        assert!(error.contains("metrics.jsonl: was changed since it was written here"), "{error}");
    }
    assert_eq!(fs::read_to_string(&metrics).unwrap(), "{\"step\":7}\n");
    fs::write(&metrics, &own).unwrap();
    // Of checkpoints that were changed none is removed, nor anything else.
    fs::write(folder.path().join("checkpoints/step-3"), "mine").unwrap();
    let error = Run::begin_anew(folder.path(), &configuration()).unwrap_err().to_string();
    assert!(error.contains("checkpoints/step-3: was changed"), "{error}");
    assert!(folder.path().join(CONFIGURATION).exists() && fs::read(&metrics).unwrap() == own);
}
