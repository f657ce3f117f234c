//! `train` of an adapter into folders that hold files of others.

use std::fs;

use super::planted::{Planted, kill};
use crate::cli::train::desk;

const SAMPLED: &str = "--set sample.every=2 --set sample.steps=1 --set sample.prompts=['lily']";
const EVENTS: &str = "events.out.tfevents.0000000000.higanbana";

/// A file, or a folder that holds one, at every name that a run writes, and of the other kind.
#[test]
fn a_folder_with_a_file_where_the_run_would_write_is_refused() {
    let desk = desk();
    let names = [
        "run.toml",
        "metrics.jsonl",
        "error.txt",
        "lily.safetensors",
        "samples.png",
        EVENTS,
        "checkpoints/sd15.safetensors",
        "checkpoints/step-00000002.safetensors",
        "samples/cat.png",
        "checkpoints",
        "samples",
        "run.toml/a",
        "metrics.jsonl/a",
        "error.txt/a",
        "lily.safetensors/a",
        "samples.png/a",
    ];
    for (index, name) in names.iter().enumerate() {
        let mut planted = Planted::on(&desk);
        planted.files(&[&format!("out-{index}/{name}"), &format!("out-{index}/notes.txt")]);
        for how in ["", "--overwrite", "--resume"] {
            let arguments = format!("train run.toml {SAMPLED} -o out-{index} {how}");
            let error = planted.refuse(&arguments);
            let first = name.split('/').next().unwrap();
            assert!(error.starts_with(&format!("out-{index}/{first}: ")), "{error}");
            assert!(error.ends_with("name another folder, or move it away"), "{error}");
        }
        planted.are_there();
    }
    for name in ["result.json", "higanbana.ledger"] {
        let mut planted = Planted::on(&desk);
        planted.files(&[&format!("{name}-folder/{name}")]);
        for how in ["", "--overwrite", "--resume"] {
            let error = planted.refuse(&format!("train run.toml -o {name}-folder {how}"));
            assert!(error.starts_with(&format!("{name}-folder/{name}: ")), "{error}");
        }
    }
}

/// A link is no file of the run, wherever it leads.
#[test]
fn links_where_the_run_would_write_are_refused() {
    let desk = desk();
    for (index, name) in
        ["checkpoints", "samples", "metrics.jsonl", "lily.safetensors"].iter().enumerate()
    {
        let mut planted = Planted::on(&desk);
        planted.files(&["elsewhere/a"]);
        let to = if index < 2 { "elsewhere" } else { "elsewhere/a" };
        planted.link(&format!("out-{index}/{name}"), to);
        for how in ["", "--overwrite"] {
            let arguments = format!("train run.toml {SAMPLED} -o out-{index} {how}");
            assert!(planted.refuse(&arguments).starts_with(&format!("out-{index}/{name}: ")));
        }
    }
}

/// What stands beside the files of a run, and comes between them while it lies killed, outlasts it.
#[test]
fn a_run_works_between_files_of_others() {
    let desk = desk();
    let metrics = desk.path("out/metrics.jsonl");
    let train = format!("train run.toml {SAMPLED} -o out");
    let mut planted = Planted::on(&desk);
    planted.files(&[
        "out/notes.txt",
        "out/images/cat.png",
        "out/models/checkpoints/sd15.safetensors",
    ]);
    kill(&desk, &train, &metrics, 3..=11);
    let between =
        ["out/checkpoints/sd15.safetensors", "out/samples/cat.png", "out/.higanbana-backup"];
    planted.files(&between);
    // One that the run has yet to write.
    for name in ["out/lily.safetensors", "out/checkpoints/step-00000012.safetensors"] {
        planted.files(&[name]);
        for how in ["--resume", "--overwrite"] {
            assert!(planted.refuse(&format!("{train} {how}")).starts_with(&format!("{name}: ")));
        }
        planted.take(name);
    }
    kill(&desk, &format!("{train} --resume"), &metrics, 6..=11);
    planted.are_there();
    desk.run(&format!("{train} --resume")).succeeds();
    planted.are_there();
    // Rows of the sheet are the run's own: seven images of 32 pixels.
    let sheet = higanbana_diffusion::pipeline::Pixels::read(&desk.path("out/samples.png")).unwrap();
    assert_eq!(sheet.size, [7 * 32 + 6 * 2, 32]);
    kill(&desk, &format!("{train} --overwrite --set seed=1"), &metrics, 1..=11);
    planted.are_there();
    desk.run(&format!("{train} --overwrite --set seed=2")).succeeds();
    planted.are_there();
    let again = format!("{train} --set seed=2 --report");
    desk.run(&format!("{again} page.html")).succeeds();
    desk.run(&format!("{again} page.html")).succeeds();
    planted.are_there();
    planted.files(&["thesis.html"]);
    let error = planted.refuse(&format!("{again} thesis.html"));
    assert!(error.starts_with("thesis.html: is no page of this toolkit; "), "{error}");
    // A run is not done without what it made.
    fs::remove_file(desk.path("out/lily.safetensors")).unwrap();
    let error = desk.refusal(&format!("{train} --set seed=2"));
    assert!(error.starts_with("out/lily.safetensors: is gone, "), "{error}");
    let left = fs::read_dir(desk.path("out/checkpoints")).unwrap().count();
    assert_eq!(left, 2 + 1, "checkpoints are tidied, the other file is not");
}

#[test]
fn a_run_into_its_inputs_is_refused() {
    let desk = desk();
    let mut planted = Planted::on(&desk);
    planted.all(&desk.path("."));
    planted.link("link", "images");
    for (arguments, expected) in [
        // The recipe is called as a file of the run.
        ("-o .", "run.toml: is an input; name another output"),
        ("-o images", "images: holds images that are trained on; name another output"),
        ("-o link", "link: holds images that are trained on; name another output"),
        ("-o images/3_lily", "images/3_lily: holds images that are trained on; name another"),
        ("-o model", "model/run.toml: lies in model, an input; name another output"),
        ("-o out --set data.concepts.0.folder=out/samples", "out/samples: is an input"),
        (
            "-o out --set data.concepts.0.folder=out/samples/a",
            "out/samples: holds out/samples/a, an",
        ),
        ("--report run.toml", "run.toml: is an input; name another output"),
        ("--report images/a.png", "images/a.png: is an input; name another output"),
        ("--report runs/run/samples.png", "runs/run/samples.png: is an input"),
        ("--report model/model_index.json", "model/model_index.json: is an input"),
    ] {
        for how in ["", "--overwrite"] {
            let error = planted.misuse(&format!("train run.toml {SAMPLED} {arguments} {how}"));
            assert!(error.contains(expected), "{error}");
        }
    }
    // Below a folder of images there may be runs, as where the recipe lies among the images.
    desk.bytes("images/run.toml", &fs::read(desk.path("run.toml")).unwrap());
    let train = "train images/run.toml --set train.steps=1 --set model=../model";
    desk.run(&format!("{train} --set data.concepts.0.folder=.")).succeeds();
    planted.are_there();
}
