//! `train` that begins from an adapter.

use std::fs;

use super::{
    run::Desk,
    train::{desk, image},
};

fn tensors(desk: &Desk, run: &str) -> Vec<(String, Vec<f64>)> {
    let file = desk.open(&format!("{run}/lily.safetensors"));
    let read = |name: &String| (name.clone(), file.read(name).unwrap().iter().collect());
    file.names().iter().map(read).collect()
}

#[test]
fn a_training_begins_where_an_adapter_is() {
    let desk = desk();
    for (algorithm, options) in [
        ("lokr", "{rank=2,alpha=1.0,dropout=0.1}"),
        ("lora+dora", "{rank=2,alpha=1.0}"),
        ("tlora", "{rank=2}"),
    ] {
        let train = format!(
            "train run.toml --overwrite --set adapter.algorithm={algorithm} --set adapter.options={options}"
        );
        desk.run(&format!("{train} -o first --set train.steps=4")).succeeds();
        // A step that moves nothing.
        let still = "--set train.steps=1 --set train.rate=1e-30 --set train.ema=0.0";
        let from = "--init-from first/lily.safetensors";
        desk.run(&format!("{train} -o second {still} {from}")).succeeds();
        let (first, second) = (tensors(&desk, "first"), tensors(&desk, "second"));
        assert_eq!(first.len(), second.len());
        for ((name, a), (other, b)) in first.iter().zip(&second) {
            let off = a
                .iter()
                .zip(b)
                .map(|(a, b)| (a - b).abs())
                .max_by(f64::total_cmp)
                .unwrap_or_default();
            assert!(name == other && off < 1e-6, "{algorithm}: {name} {off}");
        }
        desk.run(&format!("{train} -o nothing {still}")).succeeds();
        assert_ne!(tensors(&desk, "nothing"), first, "{algorithm}");
    }
}

/// To the bytes of a run that was asked for all of it at once.
#[test]
fn a_run_goes_on_to_more_steps() {
    let desk = desk();
    let constant = "--set train.schedule={kind='constant'}";
    let outputs = |run: &str| {
        let read = |name: &str| fs::read(desk.path(run).join(name)).unwrap();
        ["lily.safetensors", "metrics.jsonl", "run.toml"].map(read)
    };
    desk.run(&format!("train run.toml -o whole {constant}")).succeeds();
    desk.run(&format!("train run.toml -o parts {constant} --set train.steps=5")).succeeds();
    let error = desk.run(&format!("train run.toml -o parts {constant}")).fails();
    assert!(error.starts_with("parts: holds a run with "), "{error}");
    let out = desk.run(&format!("train run.toml -o parts {constant} --resume")).succeeds();
    assert!(out.starts_with("parts/lily.safetensors: 12 steps"), "{out}");
    assert!(outputs("parts") == outputs("whole"));
    // Done is done.
    desk.run(&format!("train run.toml -o parts {constant} --resume")).succeeds();
    for set in ["train.steps=11", "train.steps=13 --set seed=1", "train.rate=1e-3"] {
        let run = format!("train run.toml -o parts --resume {constant} --set {set}");
        assert!(desk.run(&run).fails().starts_with("parts: holds a run with "), "{set}");
    }

    // Three epochs of three batches are a step and a half each: the last has one batch.
    let recipe = fs::read_to_string(desk.path("run.toml")).unwrap();
    desk.bytes("run.toml", recipe.replace("steps = 12\nbatch = 2", "epochs = 3").as_bytes());
    desk.bytes("images/b.txt", b"a lily");
    fs::remove_dir_all(desk.path("images/3_lily")).unwrap();
    image(&desk.path("images/c.png"), [48, 32]);
    desk.bytes("images/c.txt", b"rain");
    desk.run(&format!("train run.toml -o epochs {constant}")).succeeds();
    let more = "--resume --set train.epochs=4";
    let out = desk.run(&format!("train run.toml -o epochs {constant} {more}")).succeeds();
    // Nine batches in five steps, and three in two.
    assert!(out.starts_with("epochs/lily.safetensors: 7 steps"), "{out}");
    let file = desk.open("epochs/lily.safetensors");
    assert_eq!(file.metadata()["ss_num_epochs"], "4");
}

#[test]
fn the_adapter_is_there_at_every_checkpoint() {
    let desk = desk();
    let train = "train run.toml --set train.snapshots=true --set train.checkpoint=5";
    let constant = "--set train.schedule={kind='constant'}";
    desk.run(&format!("{train} {constant}")).succeeds();
    let step = |step: usize| format!("lily-step{step:08}.safetensors");
    let mut names = fs::read_dir(desk.path("runs/run")).unwrap();
    assert!(names.all(|it| it.unwrap().file_name() != *step(12)), "the last is lily itself");
    for steps in [5, 10] {
        // What a run of as many steps ends with, but for the number that was asked for.
        desk.run(&format!(
            "train run.toml -o short {constant} --overwrite --set train.steps={steps}"
        ))
        .succeeds();
        let [snapshot, whole] =
            [format!("runs/run/{}", step(steps)), "short/lily.safetensors".into()]
                .map(|name| desk.open(&name));
        assert_eq!(snapshot.metadata()["ss_steps"], steps.to_string());
        for name in whole.names() {
            assert!(snapshot.read(name).unwrap() == whole.read(name).unwrap(), "{steps} {name}");
        }
    }
}

#[test]
fn an_adapter_of_another_form_is_refused() {
    let desk = desk();
    desk.run("train run.toml -o first --set train.steps=1").succeeds();
    let train = "train run.toml -o new --init-from first/lily.safetensors";
    for (set, expected) in [
        ("adapter.options={rank=1,alpha=1.0}", "has another rank, alpha or form at "),
        ("adapter.options={rank=2,alpha=2.0}", "has another rank, alpha or form at "),
        ("adapter.algorithm=loha", "where the recipe trains loha; give adapter.algorithm, "),
        ("adapter.text_encoder=false", "where the recipe trains nothing; give adapter.algorithm, "),
        ("adapter.preset=attn-only", "where the recipe trains nothing; give adapter.algorithm, "),
        ("adapter.preset=full", "first/lily.safetensors: has nothing at "),
        ("adapter.scale_from.alpha=4", "adapter.init_from: begins at the alpha in use; leave out"),
    ] {
        let error = desk.refusal(&format!("{train} --set {set}"));
        assert!(error.contains(expected), "{set}: {error}");
    }
    let error = desk.refusal("train run.toml -o new --init-from images/a.png");
    assert!(error.contains("images/a.png"), "{error}");
}
