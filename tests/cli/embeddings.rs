//! Embeddings: `generate --embedding` and `inspect`.

mod train;

use std::fs;

use burn::tensor::{Device, TensorData};

use super::{
    formula,
    reference::{folder, write_pipeline},
    run::Desk,
};

fn data(name: &str, shape: [usize; 2]) -> TensorData {
    formula::tensor::<2>(name, shape, &Device::default()).into_data()
}

#[test]
fn prompts_hold_the_tokens_of_files() {
    let desk = Desk::new();
    write_pipeline("sd", &desk.path("model"));
    desk.tensors("lilium.safetensors", &[("emb_params", data("lilium", [2, 16]))]);
    desk.tensors("wide.safetensors", &[("emb_params", data("x", [1, 24]))]);
    let image = |options: &str, token: &str, name: &str| {
        let run = format!(
            "generate --model model --steps 2 --prompt {token} --negative rain {options} -o {name}.png \
             --save-latents {name}.safetensors"
        );
        let run = desk.run(&run);
        run.succeeds();
        (desk.values(&format!("{name}.safetensors"), "latents"), run.err())
    };
    let (own, err) = image("--embedding lilium.safetensors", "(lilium:1.2)", "own");
    assert_eq!(err, "lilium.safetensors: token lilium, 2 vectors\n");
    let (other, err) = image("--embedding lilium.safetensors=<x>", "(<x>:1.2)", "other");
    assert_eq!(err, "lilium.safetensors: token <x>, 2 vectors\n");
    let (plain, err) = image("--embedding lilium.safetensors=<x>", "(lilium:1.2)", "plain");
    assert_eq!(err, "lilium.safetensors: token <x>, 2 vectors; no prompt holds it\n");
    assert_eq!(own, other);
    assert_ne!(own, plain);

    let generate = "generate --model model --prompt lilium -o new.png --embedding";
    let error = desk.refusal(&format!("{generate} wide.safetensors"));
    assert!(error.starts_with("wide.safetensors: token wide has vectors of width 24, "), "{error}");
    let error = desk.refusal(&format!("{generate} none.safetensors=<x>"));
    assert!(error.starts_with("none.safetensors: "), "{error}");
    let error = desk.misuse(&format!("{generate} lilium.safetensors="));
    assert!(error.contains("name the token behind ="), "{error}");
    let run =
        format!("{generate} lilium.safetensors --save-latents lilium.safetensors --overwrite");
    assert!(desk.misuse(&run).contains("is an input"));
}

#[test]
fn inspect_tells_tokens_vectors_widths_and_encoders() {
    let desk = Desk::new();
    fs::copy(folder("embeddings").join("pluvia.safetensors"), desk.path("pluvia.safetensors"))
        .unwrap();
    let out = desk.run("inspect pluvia.safetensors").succeeds();
    let lines: Vec<String> =
        out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[0], "token text encoder vectors width dtype");
    assert_eq!(lines[1], "pluvia SDXL's first 2 16 F32");
    assert_eq!(lines[2], "pluvia SDXL's second 2 24 F32");
    assert!(lines[4].starts_with("pluvia.safetensors: 2 embeddings, "), "{out}");
    let json = desk.run("inspect pluvia.safetensors --json").json();
    let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys.join(" "), "kind file bytes embeddings metadata");
    let second = serde_json::json!({
        "token": "pluvia", "encoder": "text_encoder_2", "key": "clip_g", "vectors": 2, "width": 24,
        "dtype": "F32",
    });
    assert_eq!(json["embeddings"][1], second);

    // Those that an adapter brings along are no leftovers of it.
    desk.tensors(
        "a",
        &[
            ("lycoris_l.diff", data("x", [2, 2])),
            ("bundle_emb.lily.string_to_param.*", data("y", [3, 768])),
        ],
    );
    let run = desk.run("inspect a --strict");
    let row = run.succeeds().lines().find(|line| line.starts_with("lily ")).unwrap().to_string();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>().join(" "), "lily SD 1's 3 768 F32");
    assert_eq!(run.err(), "");
}
