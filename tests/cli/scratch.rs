//! `train` without an adapter: a model of pixels from random values, and an adapter on it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use higanbana_diffusion::pipeline::{Pixels, png};
use serde_json::{Value, json};

use super::run::{BINARY, Desk};

const RECIPE: &str = r#"
model = "model"
from_scratch = true
seed = 3
name = "base"
precision = "f16"

[data]
resolution = 8
captions = { dropout = 0.1 }
concepts = [{ folder = "images", sheet = 8 }]

[train]
steps = 8
batch = 3
rate = 1e-2
clip = 1.0
ema = 0.9
checkpoint = 2

[sample]
every = 8
steps = 2
guidance = 2.0
prompts = ["red fish", "blue bird"]
"#;

const ADAPTER: &str = r#"
model = "runs/base/base"
seed = 3

[adapter]
algorithm = "ALGORITHM"
preset = "full"
options = { rank = 2, alpha = 2.0 }

[data]
resolution = 8
concepts = [{ folder = "images", sheet = 8 }]

[train]
steps = 4
rate = 1e-2

[sample]
every = 4
steps = 2
prompts = ["red fish", "blue bird"]
"#;

/// A model folder without weights, of which nothing is left to be learnt from elsewhere.
fn write_model(folder: &Path) {
    let write = |name: &str, value: Value| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, value.to_string()).unwrap();
    };
    write(
        "model_index.json",
        json!({
            "_class_name": "PixelDiffusionPipeline",
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
            "unet": ["diffusers", "UNet2DConditionModel"],
        }),
    );
    let scheduler = json!({
        "_class_name": "DDIMScheduler", "prediction_type": "v_prediction", "timestep_spacing": "trailing",
        "rescale_betas_zero_snr": true,
    });
    write("scheduler/scheduler_config.json", scheduler);
    let unet = json!({
        "_class_name": "UNet2DConditionModel", "in_channels": 3, "out_channels": 3, "sample_size": 8,
        "block_out_channels": [8, 16], "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 2,
        "cross_attention_dim": 12, "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    });
    write("unet/config.json", unet);
    let encoder = json!({
        "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "vocab_size": 6, "hidden_size": 12,
        "intermediate_size": 24, "max_position_embeddings": 5, "num_attention_heads": 2,
        "num_hidden_layers": 2, "eos_token_id": 1,
    });
    write("text_encoder/config.json", encoder);
    let words = ["<|startoftext|>", "<|endoftext|>", "red", "blue", "fish", "bird"];
    let words: serde_json::Map<String, Value> =
        words.iter().zip(0..6).map(|(word, id)| (word.to_string(), id.into())).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": { "type": "Lowercase" }, "pre_tokenizer": { "type": "WhitespaceSplit" },
        "post_processor": null, "decoder": null,
        "model": { "type": "WordLevel", "vocab": words, "unk_token": "" },
    });
    write("tokenizer/tokenizer.json", tokenizer);
}

/// The folder of a model without weights, a sheet of four images, and the recipe.
pub fn desk() -> Desk {
    let desk = Desk::new();
    write_model(&desk.path("model"));
    fs::create_dir(desk.path("images")).unwrap();
    let pixels: Vec<u8> = (0..16 * 16 * 3).map(|i| (i * 31 % 256) as u8).collect();
    desk.bytes("images/sheet.png", &png([16, 16], &pixels, "").unwrap());
    desk.bytes("images/sheet.txt", b"red fish\nblue fish\nred bird\nblue bird\n");
    desk.bytes("base.toml", RECIPE.as_bytes());
    desk
}

const FILES: [&str; 4] = [
    "base/unet/diffusion_pytorch_model.safetensors",
    "base/text_encoder/model.safetensors",
    "metrics.jsonl",
    "samples.png",
];

fn files(desk: &Desk, run: &str) -> [Vec<u8>; 4] {
    FILES.map(|name| fs::read(desk.path(run).join(name)).unwrap())
}

#[test]
fn a_model_from_random_values_and_adapters_on_it() {
    let desk = desk();
    let out = desk.run("train base.toml").succeeds();
    assert!(out.starts_with("runs/base/base: 8 steps, loss "), "{out}");
    let file = desk.open(&format!("runs/base/{}", FILES[0]));
    assert_eq!(format!("{:?}", file.info("conv_in.weight").unwrap().dtype), "F16");
    let sheet = Pixels::read(&desk.path("runs/base/samples.png")).unwrap();
    assert_eq!(sheet.size, [2 * 8 + 2, 2 * 8 + 2]);

    let generate = "generate --model runs/base/base --steps 2 --prompt";
    let out =
        desk.run("generate --model runs/base/base --steps 2 --prompt fish -o fish.png").succeeds();
    assert!(out.contains("1 of 8x8"), "{out}");
    let error = desk.refusal(&format!("{generate} dragon -o dragon.png"));
    assert_eq!(error, "prompt: has the word dragon, which the model does not know");
    let error = desk.refusal(&format!("{generate} fish --tile=8 -o fish2.png"));
    assert_eq!(error, "tile: is given, but this model has no autoencoder");

    for algorithm in ["lora", "loha"] {
        let recipe = ADAPTER.replace("ALGORITHM", algorithm);
        desk.bytes(&format!("{algorithm}.toml"), recipe.as_bytes());
    }
    let out = desk.run("train lora.toml loha.toml --report page.html").succeeds();
    assert_eq!(out.lines().count(), 3, "{out}");
    let page = fs::read_to_string(desk.path("page.html")).unwrap();
    for expected in ["blue bird", "before", "loha", "data:image/png;base64,", "alpha 2.0, rank 2"] {
        assert!(page.contains(expected), "{expected}");
    }
    desk.run(&format!("{generate} fish --adapter runs/lora/adapter.safetensors -o lora.png"))
        .succeeds();
    let [plain, adapted] =
        ["fish.png", "lora.png"].map(|name| Pixels::read(&desk.path(name)).unwrap());
    assert_ne!(plain, adapted);
    let file = desk.open("runs/lora/adapter.safetensors");
    assert_eq!(file.metadata()["modelspec.architecture"], "pixel-diffusion/lora");
    let merge = "merge runs/base/base/unet/diffusion_pytorch_model.safetensors runs/lora/adapter.safetensors";
    desk.run(&format!("{merge} -o merged.safetensors")).succeeds();
    desk.run("rank runs/lora/adapter.safetensors").succeeds();
    let error = desk.refusal("export runs/base/base -o single.safetensors");
    assert!(error.starts_with("runs/base/base: is none of SD 1, SD 2 and SDXL"), "{error}");
}

#[test]
fn it_begins_from_the_seed_and_goes_on_from_a_checkpoint_to_the_same_bytes() {
    let desk = desk();
    desk.run("train base.toml -o whole").succeeds();
    let mut child = Command::new(BINARY)
        .args(["train", "base.toml", "-o", "killed"])
        .current_dir(desk.path("."))
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let saved = desk.path("killed/checkpoints/step-00000004.safetensors");
    while !saved.exists() && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    desk.run("train base.toml -o killed --resume").succeeds();
    assert!(files(&desk, "killed") == files(&desk, "whole"));
    desk.run("train base.toml -o flag --set from_scratch=false --from-scratch").succeeds();
    assert!(files(&desk, "flag") == files(&desk, "whole"));

    desk.run("train base.toml -o other --set seed=4").succeeds();
    assert!(files(&desk, "other") != files(&desk, "whole"));
    // Text encoders are trained, and may be left as they are.
    let trained = |run: &str| fs::read(desk.path(run).join(FILES[1])).unwrap();
    desk.run("train base.toml -o still --set train.text_encoder_rate=0.0").succeeds();
    desk.run("train base.toml -o still1 --set train.text_encoder_rate=0.0 --set train.steps=1")
        .succeeds();
    assert!(trained("still") == trained("still1") && trained("still") != trained("whole"));
    // From its weights instead, nothing is drawn.
    desk.run("train base.toml -o on --set from_scratch=false --set model=whole/base").succeeds();
}

#[test]
fn a_model_is_saved_as_what_it_was_trained_to_be() {
    let desk = desk();
    let scheduler = "scheduler/scheduler_config.json";
    let told = json!({ "_class_name": "DDIMScheduler", "prediction_type": "epsilon" });
    desk.bytes(&format!("model/{scheduler}"), told.to_string().as_bytes());
    let saved = |set: &str| {
        desk.run(&format!("train base.toml --overwrite --set train.steps=1 {set}")).succeeds();
        fs::read_to_string(desk.path("runs/base/base").join(scheduler)).unwrap()
    };
    assert_eq!(saved(""), told.to_string());
    let trained: Value = serde_json::from_str(&saved(
        "--set objective.prediction=v_prediction --set objective.zero_terminal_snr=true",
    ))
    .unwrap();
    assert_eq!(trained["prediction_type"], "v_prediction");
    assert_eq!(trained["rescale_betas_zero_snr"], true);
    assert_eq!(trained["_class_name"], "DDIMScheduler");
}

#[test]
fn what_does_not_go_together_is_refused() {
    let desk = desk();
    for (set, expected) in [
        ("adapter.algorithm=lora", "from_scratch: trains the model itself; leave out adapter"),
        ("objective.prediction=epsilon", "zero_terminal_snr: needs v_prediction"),
        ("train.snapshots=true", "train.snapshots: are of an adapter; there is none"),
        ("train.loraplus=4", "train.loraplus: is about an adapter's factors; there is none"),
        ("from_scratch=false", "model/text_encoder: is a directory without weights"),
        ("model=images/sheet.png", "model: a model that is trained itself is a folder"),
        ("train.blocks=[{paths=['**.nowhere'],rate=1}]", "no trained layer for **.nowhere"),
        (
            "data.concepts.0.sheet=5",
            "images/sheet.png: is 16x16, which is no sheet of squares of 5",
        ),
        ("data.concepts.0.sheet=16", "images/sheet.png: has 1 squares of 16, and captions 4"),
    ] {
        let error = desk.refusal(&format!("train base.toml --set {set}"));
        assert!(error.contains(expected), "{set}: {error}");
    }
    assert!(
        desk.misuse("train base.toml base.toml -o run")
            .contains("--output: is the folder of one run")
    );
    let error = desk.refusal("train base.toml --scale-from alpha=16");
    assert_eq!(error, "base.toml: --scale-from is about an adapter, and there is none");
    desk.bytes("lora.toml", ADAPTER.replace("ALGORITHM", "lora").as_bytes());
    let error = desk.refusal("train lora.toml --from-scratch");
    assert_eq!(error, "lora.toml: from_scratch: trains the model itself; leave out adapter");

    let index = desk.path("model/model_index.json");
    let text = fs::read_to_string(&index).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["vae"] = json!(["diffusers", "AutoencoderKL"]);
    fs::write(&index, value.to_string()).unwrap();
    let error = desk.refusal("train base.toml");
    assert!(error.contains("field vae is none of a PixelDiffusionPipeline's"), "{error}");
    fs::write(&index, text).unwrap();
    let config = desk.path("model/unet/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(r#""in_channels":3"#, r#""in_channels":4"#)).unwrap();
    let error = desk.refusal("train base.toml");
    assert!(error.contains("its UNet takes 4 channels and gives 3; pixels have 3"), "{error}");
}
