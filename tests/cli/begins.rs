//! `train` that begins from an adapter.

use super::{run::Desk, train::desk};

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
            let off = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(name == other && off < 1e-6, "{algorithm}: {name} {off}");
        }
        desk.run(&format!("{train} -o nothing {still}")).succeeds();
        assert_ne!(tensors(&desk, "nothing"), first, "{algorithm}");
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
