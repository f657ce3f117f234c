//! Names of files that are no UTF-8.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    process::Command,
};

use burn::tensor::TensorData;
use serde_json::Value;

use super::{
    run::{BINARY, Desk, Run},
    train,
};

/// `name` behind a byte that begins no character, and with another at its end.
fn odd(name: &str) -> OsString {
    OsStr::from_bytes(&[b"\xff", name.as_bytes(), b"\xfe"].concat()).into()
}

fn run(desk: &Desk, arguments: &[&OsStr]) -> Run {
    desk.command(Command::new(BINARY).args(arguments))
}

/// Arguments of which those that begin with `@` are [`odd`] names.
fn line(desk: &Desk, text: &str) -> Run {
    let words = text.split_whitespace();
    let words = words.map(|word| match word.strip_prefix('@') {
        Some(name) => odd(name),
        None => word.into(),
    });
    let words: Vec<OsString> = words.collect();
    run(desk, &words.iter().map(OsString::as_os_str).collect::<Vec<_>>())
}

/// The text that stands for an odd name.
fn shown(name: &str) -> String {
    format!("\u{fffd}{name}\u{fffd}")
}

fn desk() -> Desk {
    let desk = Desk::new();
    desk.tensors(
        "a",
        &[
            ("lycoris_l.alpha", TensorData::from([1.0f32])),
            ("lycoris_l.lora_down.weight", TensorData::from([[1.0f32, 0.0]])),
            ("lycoris_l.lora_up.weight", TensorData::from([[1.0f32], [2.0]])),
        ],
    );
    desk.tensors("base", &[("l.weight", TensorData::from([[0.0f32; 2]; 2]))]);
    for name in ["a", "base"] {
        fs::copy(desk.path(name), odd_path(&desk, name)).unwrap();
    }
    desk
}

fn odd_path(desk: &Desk, name: &str) -> PathBuf {
    desk.path("").join(odd(name))
}

#[test]
fn files_of_such_names_are_read_written_and_told_of() {
    let desk = desk();
    for (arguments, key, name) in [
        ("inspect @a --json", "file", "a"),
        ("rank @a --base @base --json", "base", "base"),
        ("merge @base @a -o @merged --json", "output", "merged"),
        (
            "extract @base @merged --adapter lora --rank 1 -o @extracted --json",
            "output",
            "extracted",
        ),
        ("resize @a --rank 1 -o @resized --json", "output", "resized"),
        ("convert @a --to kohya -o @converted --json", "output", "converted"),
    ] {
        let json: Value = line(&desk, arguments).json();
        assert_eq!(json[key], shown(name), "{arguments}");
        let text = arguments.replace("--json", "").replace(&format!("-o @{name}"), "-o @again");
        line(&desk, &format!("{text} {}", if text.contains("-o") { "--overwrite" } else { "" }))
            .succeeds();
    }
    for name in ["merged", "extracted", "resized", "converted"] {
        assert!(odd_path(&desk, name).exists(), "{name}");
    }
    let error = line(&desk, "inspect @none").fails();
    assert!(error.starts_with(&shown("none")), "{error}");
}

#[test]
fn an_adapter_of_such_a_name_has_its_strength() {
    let desk = desk();
    let mut adapter = odd("a");
    adapter.push(":0.5");
    let arguments = ["merge", "base"].map(OsStr::new);
    let output = ["-o", "half", "--json"].map(OsStr::new);
    let json = run(&desk, &[&arguments[..], &[&adapter], &output].concat()).json();
    assert_eq!(json["adapters"][0]["strength"], 0.5);
    assert_eq!(desk.values("half", "l.weight"), [0.5, 0.0, 1.0, 0.0]);
}

#[test]
fn plans_of_such_names_are_made_submitted_and_collected() {
    let desk = Desk::new();
    let text = "experiment = \"fit\"\n[parameters]\nadapter = \"lora\"\nsteps = 2\n[axes]\nseed = [0, 1]\n";
    fs::write(odd_path(&desk, "plan.toml"), text).unwrap();
    line(&desk, "sweep plan @plan.toml -o @plan").succeeds();
    let submit = "sweep submit @plan --runs @runs --engine local";
    let error = line(&desk, submit).is_misused();
    assert!(error.contains("take --engine local with --go"), "{error}");
    line(&desk, &format!("{submit} --go")).succeeds();
    assert!(odd_path(&desk, "runs").is_dir());
    let out = line(&desk, "sweep collect @plan --runs @runs").succeeds();
    assert!(out.ends_with("2 of 2 runs done\n"), "{out}");
    line(&desk, "run --plan @plan --runs @runs --index 1").succeeds();
}

#[test]
fn images_of_such_names_are_trained_on_or_told_of() {
    let desk = train::desk();
    let images = desk.path("images");
    let name = |text: &[u8]| OsStr::from_bytes(text).to_os_string();
    fs::copy(images.join("a.png"), images.join(name(b"\xff.png"))).unwrap();
    fs::copy(images.join("a.txt"), images.join(name(b"\xff.txt"))).unwrap();
    fs::copy(images.join("a.txt"), images.join(name(b"\xfe.txt"))).unwrap();
    fs::write(images.join(name(b"\xfe.png")), b"").unwrap();
    let error = desk.run("train run.toml").fails();
    assert!(error.starts_with("images/\u{fffd}.png: is empty"), "{error}");
    let json = desk.run("train run.toml --skip-bad --json --set train.steps=1").json();
    assert_eq!(json["left_out"][0]["path"], "images/\u{fffd}.png");
    assert_eq!(json["images"], 4);
    // What is written into the folder of the run is read again.
    desk.run("train run.toml --skip-bad --set train.steps=1 --report page.html").succeeds();
}
