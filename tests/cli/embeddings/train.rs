//! Embeddings in `train`: frozen, alone, and beside an adapter.

use std::fs;

use burn::tensor::TensorData;

use crate::cli::{
    run::Desk,
    stops::{start, wait_for},
    train::desk,
};

const LILY: &str = r#"--set embeddings=[{token='<lily>',words='red',vectors=2}]"#;
/// The adapter of the recipe is left out.
const ALONE: &str = "alone.toml";

/// The desk of the recipes, with captions that hold a token, and a recipe without an adapter.
fn desk_of_tokens() -> Desk {
    let desk = desk();
    for name in ["a", "b"] {
        desk.bytes(&format!("images/{name}.txt"), b"a <lily>, wet, tall");
    }
    let recipe = fs::read_to_string(desk.path("run.toml")).unwrap();
    let [before, after] = ["[adapter]", "[data]"].map(|key| recipe.find(key).unwrap());
    desk.bytes(ALONE, [&recipe[..before], &recipe[after..]].concat().as_bytes());
    desk
}

#[test]
fn a_token_is_trained_alone() {
    let desk = desk_of_tokens();
    let model = fs::read(desk.path("model/text_encoder/model.safetensors")).unwrap();
    let run = desk.run(&format!("train {ALONE} -o run {LILY}"));
    let out = run.succeeds();
    assert!(out.starts_with("run/lily.safetensors: 12 steps, loss "), "{out}");
    assert!(run.err().contains(", 32 values, 12 steps"), "{}", run.err());
    let file = desk.open("run/lily.safetensors");
    assert_eq!(file.names(), ["<lily>"]);
    assert_eq!(file.info("<lily>").unwrap().shape, [2, 16]);
    let about = |key: &str| file.metadata().get(key).cloned().unwrap_or_default();
    assert_eq!(about("modelspec.architecture"), "stable-diffusion-v1/textual-inversion");
    assert_eq!(about("modelspec.trigger_phrase"), "<lily>");
    assert_eq!(about("ss_steps"), "12");
    assert_eq!(fs::read(desk.path("model/text_encoder/model.safetensors")).unwrap(), model);

    let json = desk.run("inspect run/lily.safetensors --json").json();
    assert_eq!(json["embeddings"][0]["token"], "<lily>");
    let generate = "generate --model model --prompt <lily> --steps 2 -o lily.png --embedding";
    let run = desk.run(&format!("{generate} run/lily.safetensors"));
    run.succeeds();
    assert_eq!(run.err(), "run/lily.safetensors: token <lily>, 2 vectors\n");
}

#[test]
fn a_token_and_an_adapter_are_trained_together() {
    let desk = desk_of_tokens();
    let beside = desk.run(&format!("train run.toml -o beside --set name=a {LILY}"));
    assert!(beside.succeeds().starts_with("beside/a.safetensors: 12 steps"));
    assert_eq!(desk.open("beside/lily.safetensors").names(), ["<lily>"]);

    let bundle = LILY.replace("}", ",bundle=true}");
    desk.run(&format!("train run.toml -o bundled {bundle}")).succeeds();
    let key = "bundle_emb.<lily>.string_to_param.*";
    let of = |file: &str, key: &str| desk.values(file, key);
    assert_eq!(of("bundled/lily.safetensors", key), of("beside/lily.safetensors", "<lily>"));
    let generate = "generate --model model --prompt <lily> --steps 2 -o lily.png --adapter";
    let run = desk.run(&format!("{generate} bundled/lily.safetensors"));
    run.succeeds();
    assert!(
        run.err().ends_with("bundled/lily.safetensors: token <lily>, 2 vectors\n"),
        "{}",
        run.err()
    );
    // A training goes on from both, or is told of what it would lose.
    let file = "bundled/lily.safetensors";
    let on = format!("train run.toml -o on --set train.steps=1 --set adapter.init_from={file}");
    let error = desk.run(&on).fails();
    assert!(error.contains("first bundle_emb.<lily>.string_to_param.*: an embedding"), "{error}");
    let more = format!("--set embeddings=[{{token='<lily>',file='{file}',rate=1e-9,bundle=true}}]");
    desk.run(&format!("{on} {more}")).succeeds();
    let [before, after] = [file, "on/lily.safetensors"].map(|it| of(it, key));
    let off = before
        .iter()
        .zip(&after)
        .map(|(a, b)| (a - b).abs())
        .max_by(f64::total_cmp)
        .unwrap_or_default();
    assert!(off < 1e-4, "{off}");
    // It travels with the adapter.
    desk.run("convert bundled/lily.safetensors --to lycoris -o converted.safetensors").succeeds();
    assert_eq!(of("converted.safetensors", key), of("bundled/lily.safetensors", key));
}

/// Adam's first step is the rate in every direction, whatever the gradient.
#[test]
fn a_token_has_a_rate_of_its_own() {
    let desk = desk_of_tokens();
    let moved = |options: &str| {
        // One step of all images: not every batch holds the token.
        let one = "--set train.accumulation=4 --set train.steps=1 --set train.schedule={} --set train.ema=0.0 --set train.options={weight_decay=0.0}";
        desk.run(&format!("train run.toml -o run --overwrite --set name=a {one} {options}"))
            .succeeds();
        let after = desk.values("run/lily.safetensors", "<lily>");
        let table = "text_model.embeddings.token_embedding.weight";
        let table = desk.values("model/text_encoder/model.safetensors", table);
        let row = (0..table.len() / 16)
            .map(|row| &table[16 * row..16 * (row + 1)])
            .min_by(|a, b| distance(a, &after).total_cmp(&distance(b, &after)));
        let steps: Vec<f64> =
            after[..16].iter().zip(row.unwrap()).map(|(a, b)| (a - b).abs()).collect();
        steps.iter().sum::<f64>() / 16.0
    };
    let [own, same] = [moved(&LILY.replace("}", ",rate=1e-4}")), moved(LILY)];
    assert!((own / 1e-4 - 1.0).abs() < 1e-2, "{own}");
    assert!((same / 1e-2 - 1.0).abs() < 1e-2, "{same}");
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

#[test]
fn a_training_of_a_token_goes_on_to_the_same_bytes() {
    let desk = desk_of_tokens();
    let train = format!("train run.toml --set name=a {LILY}");
    desk.run(&format!("{train} -o whole")).succeeds();
    let mut child = start(&desk, &format!("{train} -o killed"));
    wait_for(&desk, "killed", 5, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    desk.run(&format!("{train} -o killed --resume")).succeeds();
    for name in ["a.safetensors", "lily.safetensors", "metrics.jsonl"] {
        let [whole, killed] =
            ["whole", "killed"].map(|it| fs::read(desk.path(it).join(name)).unwrap());
        assert!(whole == killed, "{name}");
    }
}

/// Captions may hold a token that is not trained, also where the model itself is.
#[test]
fn a_token_stays_as_it_is_in_its_file() {
    let desk = desk_of_tokens();
    let vectors = |x: f32| TensorData::new(vec![x; 32], [2, 16]);
    for (name, x) in [("one", 0.1), ("other", 0.2)] {
        desk.tensors(&format!("{name}.safetensors"), &[("<lily>", vectors(x))]);
    }
    let frozen = |name: &str| format!("--set embeddings=[{{file='{name}.safetensors'}}]");
    let losses = |folder: &str, options: &str| {
        desk.run(&format!("train run.toml -o {folder} {options}")).succeeds();
        assert!(!desk.path(folder).join("<lily>.safetensors").exists());
        crate::cli::train::losses(&desk, folder)
    };
    let [none, one, other] =
        [losses("none", ""), losses("one", &frozen("one")), losses("other", &frozen("other"))];
    assert!(none != one && one != other);

    desk.run(&format!("train {ALONE} -o whole --set train.steps=1 {}", frozen("one"))).succeeds();
    let names = desk.open("whole/lily/text_encoder/model.safetensors").names().to_vec();
    assert_eq!(names, desk.open("model/text_encoder/model.safetensors").names());
}

#[test]
fn embeddings_that_cannot_be_are_refused_by_the_key() {
    let desk = desk_of_tokens();
    desk.tensors("wide.safetensors", &[("<lily>", TensorData::new(vec![0f32; 24], [1, 24]))]);
    for (embedding, more, expected) in [
        ("token='<a>'", "", "embeddings.0: begins with nothing; give words or a file"),
        (
            "token='<a>',words='red',file='x'",
            "",
            "embeddings.0: has a file and words; leave out one",
        ),
        ("words='red'", "", "embeddings.0: is trained; give it a token"),
        ("file='x',rate=1e-3", "", "embeddings.0: is trained; give it a token"),
        ("file='x',vectors=2", "", "embeddings.0: has the vectors of its file; leave out vectors"),
        ("token='<a>',words='red',vectors=0", "", "embeddings.0.vectors: is 0; give 1 to 75"),
        ("token='<a>',words='red',rate=0.0", "", "embeddings.0.rate: is 0; give a number above 0"),
        ("token='lily',words='red'", "", "embeddings.0: token: its file is another's; "),
        ("token='<>',words='red'", "", "embeddings.0: token: would be no name of a file"),
        (
            "token='<lily>',words='red'",
            "--set from_scratch=true",
            "embeddings.0: is trained, and the model is not",
        ),
        (
            "token='<a.b>',words='red',bundle=true",
            "",
            "embeddings.0: bundle: the token <a.b> has a dot",
        ),
        ("token='<a>',words='red'", "", "embeddings: no caption holds <a>, which is to be trained"),
        ("token='<lily>',words='red rain',vectors=1", "--set name=a", "embeddings.0: words: \"red"),
        ("file='wide.safetensors'", "", "wide.safetensors: token <lily> has vectors of width 24, "),
        ("file='none.safetensors'", "", "none.safetensors: "),
    ] {
        let set = format!("embeddings=[{{{embedding}}}]");
        let mut command = std::process::Command::new(crate::cli::run::BINARY);
        let command =
            command.args(["train", "run.toml", "--set", &set]).args(more.split_whitespace());
        let error = desk.command(command).fails();
        assert!(error.contains(expected), "{embedding}: {error}");
    }
    let error = desk.refusal(&format!("train {ALONE} {}", LILY.replace("}", ",bundle=true}")));
    assert!(
        error.contains("embeddings.0: bundle: there is no adapter to bring it along"),
        "{error}"
    );
}
