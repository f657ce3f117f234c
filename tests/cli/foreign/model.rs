//! `train` of a whole model, whose folder replaces nothing that is another's.

use super::planted::{Planted, kill};
use crate::cli::scratch::desk;

#[test]
fn a_model_is_not_written_over_what_it_is_made_of() {
    let desk = desk();
    let mut planted = Planted::on(&desk);
    planted.all(&desk.path("."));
    planted.link("link", "model");
    for (arguments, expected) in [
        ("--set name=model -o .", "./model: is an input; name another output"),
        ("--set name=link -o .", "./link: is an input; name another output"),
        ("--set name=images -o .", "./images: is an input; name another output"),
        ("--set name=new -o model", "model/run.toml: lies in model, an input"),
        ("--set name=unet -o link", "link/run.toml: lies in model, an input"),
        (
            "--set name=m -o . --set model=m/model",
            "./m: holds m/model, an input; name another output",
        ),
        ("--set name=m -o . --set data.concepts.0.folder=m/a", "./m: holds m/a, an input"),
    ] {
        for how in ["", "--overwrite"] {
            let error = planted.misuse(&format!("train base.toml {arguments} {how}"));
            assert!(error.contains(expected), "{error}");
        }
    }
}

#[test]
fn a_folder_of_the_models_name_is_kept() {
    let desk = desk();
    let mut planted = Planted::on(&desk);
    planted.files(&["a/base/unet/weights", "b/base"]);
    planted.link("c/base", "a/base");
    for out in ["a", "b", "c"] {
        for how in ["", "--overwrite", "--resume"] {
            let error = planted.refuse(&format!("train base.toml -o {out} {how}"));
            assert!(error.starts_with(&format!("{out}/base: ")), "{error}");
        }
    }
}

/// The model of an earlier run is replaced where all of it is that run's.
#[test]
fn a_model_with_files_of_others_in_it_is_kept() {
    let desk = desk();
    let metrics = desk.path("out/metrics.jsonl");
    desk.run("train base.toml -o out").succeeds();
    desk.run("train base.toml -o out --overwrite --set seed=4").succeeds();
    let mut planted = Planted::on(&desk);
    planted.all(&desk.path("out/base"));
    planted.files(&["out/base/unet/notes.txt", "out/samples/cat.png"]);
    let error = planted.refuse("train base.toml -o out --overwrite");
    assert!(error.starts_with("out/base/unet/notes.txt: "), "{error}");
    planted.take("out/base/unet/notes.txt");

    kill(&desk, "train base.toml -o out --overwrite", &metrics, 1..=7);
    // The old one stays until the new one is whole.
    planted.are_there();
    planted.files(&["out/base/README.md"]);
    for how in ["--resume", "--overwrite"] {
        let error = planted.refuse(&format!("train base.toml -o out {how}"));
        assert!(error.starts_with("out/base/README.md: "), "{error}");
    }
    planted.take("out/base/README.md");
    desk.run("train base.toml -o out --resume").succeeds();
    desk.run("train base.toml -o fresh").succeeds();
    let weights = "base/unet/diffusion_pytorch_model.safetensors";
    let read = |run: &str| std::fs::read(desk.path(run).join(weights)).unwrap();
    assert!(read("out") == read("fresh"));
    let mut last = Planted::on(&desk);
    last.files(&["out/base/mine"]);
    assert!(last.refuse("train base.toml -o out --overwrite").starts_with("out/base/mine: "));
}
