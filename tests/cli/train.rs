//! `train`: a recipe to an adapter.

use std::{fs, path::Path};

use higanbana_diffusion::pipeline::png;

use super::{reference::write_pipeline, run::Desk};

const RECIPE: &str = r#"
model = "model"
seed = 23
name = "lily"

[adapter]
algorithm = "lokr"
options = { rank = 2, alpha = 1.0, dropout = 0.1 }
text_encoder = true

[data]
resolution = 32
buckets = { min = 16, max = 64, step = 8 }
captions = { shuffle = true, dropout = 0.1 }
concepts = [{ folder = "images", flip = true }]

[objective]
min_snr_gamma = 5.0

[train]
steps = 12
batch = 2
accumulation = 2
rate = 1e-2
clip = 1.0
ema = 0.9
checkpoint = 2
schedule = { kind = "cosine", warmup = 2 }
"#;

pub fn image(path: &Path, [height, width]: [usize; 2]) {
    let pixels: Vec<u8> = (0..height * width * 3).map(|i| (i * 7 % 256) as u8).collect();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, png([height, width], &pixels, "").unwrap()).unwrap();
}

/// A model, three images with captions, and the recipe.
pub fn desk() -> Desk {
    let desk = Desk::new();
    write_pipeline("sd", &desk.path("model"));
    for (name, size) in [("a", [32, 32]), ("b", [24, 40]), ("3_lily/c", [48, 32])] {
        image(&desk.path(&format!("images/{name}.png")), size);
    }
    for name in ["a", "b"] {
        desk.bytes(&format!("images/{name}.txt"), b"a red Lily, wet, tall");
    }
    desk.bytes("run.toml", RECIPE.as_bytes());
    desk
}

/// The loss of each step of a run.
pub fn losses(desk: &Desk, folder: &str) -> Vec<f64> {
    let metrics = fs::read_to_string(desk.path(folder).join("metrics.jsonl")).unwrap();
    let line = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
    metrics.lines().map(|text| line(text)["loss"].as_f64().unwrap()).collect()
}

#[test]
fn a_recipe_becomes_an_adapter_that_the_other_commands_take() {
    let desk = desk();
    let sampled = "--set sample.every=6 --set sample.steps=2 --set sample.prompts=['lily','rain'] \
                   --set validation.every=6 --set validation.concepts=[{folder='images'}]";
    let run = desk.run(&format!("train run.toml {sampled}"));
    let out = run.succeeds();
    assert!(out.starts_with("runs/run/lily.safetensors: 12 steps, loss "), "{out}");
    assert!(out.contains(", validation "), "{out}");

    let folder = desk.path("runs/run");
    let metrics = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 12);
    assert!(lines.iter().all(|line| line["loss"].as_f64().unwrap() > 0.0));
    assert!(lines[5]["validation"].is_f64() && lines[4]["validation"].is_null());
    let rate = lines[0]["rate"].as_f64().unwrap();
    assert!((rate - 1e-2 / 3.0).abs() < 1e-12, "{rate}");

    // Rows of two images of 64, for the steps 0, 6 and 12.
    let sheet = higanbana_diffusion::pipeline::Pixels::read(&folder.join("samples.png")).unwrap();
    assert_eq!(sheet.size, [3 * 32 + 4, 2 * 32 + 2]);

    let file = desk.open("runs/run/lily.safetensors");
    let about = |key: &str| file.metadata().get(key).cloned().unwrap_or_default();
    assert_eq!(about("ss_network_args"), r#"{"algo":"lokr"}"#);
    assert_eq!(about("ss_output_name"), "lily");
    assert_eq!(about("ss_steps"), "12");
    assert_eq!(about("ss_num_train_images"), "5");
    assert_eq!(about("ss_lr_scheduler"), "cosine");
    let tags = r#"{"3_lily":{"lily":1},"images":{"a red lily":2,"tall":2,"wet":2}}"#;
    assert_eq!(about("ss_tag_frequency"), tags);
    assert_eq!(about("modelspec.architecture"), "stable-diffusion-v1/lora");
    assert!(file.names().iter().any(|key| key.starts_with("lora_te_text_model_encoder_layers_0_")));
    assert!(file.names().iter().any(|key| key.starts_with("lora_unet_mid_block_attentions_0_")));

    desk.run("inspect runs/run/lily.safetensors").succeeds();
    let generate = "generate --model model --prompt lily --steps 2 -o lily.png";
    desk.run(&format!("{generate} --adapter runs/run/lily.safetensors")).succeeds();

    // Done is done; another recipe is another run.
    let again = desk.run(&format!("train run.toml {sampled}"));
    assert_eq!(again.succeeds(), out);
    let error = desk.run("train run.toml").fails();
    assert!(error.starts_with("runs/run: holds a run with another configuration"), "{error}");
}

#[test]
fn every_bad_image_is_named_before_the_run_begins() {
    let desk = desk();
    image(&desk.path("images/silent.png"), [32, 32]);
    desk.bytes("images/empty.png", b"");
    desk.bytes("images/empty.txt", b"x");
    let whole = fs::read(desk.path("images/a.png")).unwrap();
    desk.bytes("images/half.png", &whole[..whole.len() / 2]);
    desk.bytes("images/half.txt", b"x");
    image(&desk.path("images/latin.png"), [32, 32]);
    desk.bytes("images/latin.txt", b"\xe9t\xe9");
    let error = desk.refusal("train run.toml");
    for expected in [
        "4 images cannot be used:",
        "images/empty.png: is empty",
        "images/half.png: ",
        "images/latin.png: its caption images/latin.txt is not UTF-8",
        "images/silent.png: has no caption: write images/silent.txt",
        "--skip-bad",
    ] {
        assert!(error.contains(expected), "{error}");
    }
    let run = desk.run("train run.toml --skip-bad --json --set train.steps=1");
    let result = run.json();
    assert_eq!(result["left_out"].as_array().unwrap().len(), 4);
    assert_eq!(result["images"], 3);
}

#[test]
fn recipes_that_cannot_be_are_refused_by_the_key() {
    let desk = desk();
    for (set, expected) in [
        ("train.stepz=3", "unknown field `stepz`"),
        ("train.steps=0", "train.steps: is 0; give 1 to 99999999"),
        ("train.batch=-1", "invalid value: integer `-1`, expected usize in `train.batch`"),
        ("data.resolution=-1", "give a side, or width and height in `data.resolution`"),
        (
            "adapter.options.rank=-1",
            "options of lokr: invalid value: integer `-1`, expected usize in `rank`",
        ),
        ("adapter.options.rank=9223372036854775807", "rank 9223372036854775807 is more than any"),
        (
            "adapter.algorithm=lora --set adapter.options.rank=1000000",
            "rank 1000000 has no meaning for a layer of 64x16, give 1024 at most",
        ),
        ("train.clip=0.0", "train.clip: is 0; give a number above 0, 3e38 at most"),
        (
            "objective.noise_offset=-0.1",
            "objective.noise_offset: is -0.1; give a number from 0 to 3e38",
        ),
        ("objective.min_snr_gamma=0", "objective.min_snr_gamma: is 0; give a number above 0"),
        ("objective.preserve_output=true", "preserve_output: no concept is for regularisation"),
        ("train.ema=1.0", "train.ema: is 1; give a number from 0 to below 1"),
        (
            "train.blocks=[{paths=['**'],rate=-1}]",
            "train.blocks.0.rate: is -1; give a number from 0 to",
        ),
        ("train.schedule.floor=-1", "train.schedule.floor: is -1; give a number from 0 to 1"),
        ("train.options.beta_1=1.0", "train.options.beta_1: is 1; give a number from 0 to below 1"),
        ("train.text_encoder_rate=1 --set adapter.text_encoder=false", "they are not trained"),
        ("adapter.scale_from.alpha=-1", "adapter.scale_from.alpha: is -1; give a number above 0"),
        ("data.concepts.0.repeats=0", "data.concepts.0.repeats: is 0; give 1 to 10000"),
        ("data.resolution=1000000000000", "data.resolution: is 1000000000000; give 1 to 16384"),
        ("data.buckets.max=1000000000000", "data.buckets.max: is 1000000000000; give 1 to"),
        ("data.clip_skip=9", "run.toml: data: clip skip: is 9; the text encoder has "),
        ("name=..", r#"name: ".." is no name of a file"#),
        ("name=checkpoints", r#"name: "checkpoints" is no name of a file"#),
        ("validation={every=1,concepts=[]}", "validation: needs concepts and times"),
        ("sample={every=1,prompts=['a'],scheduler='x'}", "run.toml: sample: scheduler: "),
        ("sample={every=1,prompts=['a'],size=[9,9]}", "run.toml: sample: size: is 9x9; give"),
        ("train.epochs=2", "train: give steps or epochs, not both"),
        ("train.optimizer=adm", "run.toml: train.optimizer: no adm; there are sgd, "),
        ("train.options={beta=1}", "train.options: adamw has no beta; it has weight_decay, "),
        (
            "train.blocks=[{paths=['**.nowhere'],rate=1}]",
            "train.blocks: no trained layer for **.nowhere",
        ),
        ("adapter.algorithm=lorra", "no algorithm is called `lorra`"),
        // Before the model is read.
        ("adapter.options.rnk=3 --set model=nothing", "options of lokr: unknown field `rnk`"),
        ("adapter.algorithm=boft --set adapter.options={max_norm=1}", "options of boft: max_norm"),
        ("adapter.preset=nothing", "no preset is called `nothing`"),
        ("objective.zero_terminal_snr=true", "zero_terminal_snr: needs v_prediction"),
        ("objective.times=[900,1001]", "objective.times: 900 to 1001; there are 1000"),
        ("data.captions.dropout=2", "data.captions.dropout: is 2; give a number from 0 to 1"),
        ("data.concepts=[{folder='nowhere'}]", "nowhere: cannot be read"),
        ("data.concepts.1.repeats=3", "--set data.concepts.1.repeats=3: 1 is no entry of 1"),
        ("model=nothing", "nothing/model_index.json: cannot be read"),
    ] {
        let error = desk.refusal(&format!("train run.toml --set {set}"));
        assert!(error.contains(expected), "{set}: {error}");
    }
    desk.bytes("bad.toml", b"model = 3\n");
    assert!(desk.refusal("train bad.toml").starts_with("bad.toml: line 1: "));
    assert!(desk.refusal("train none.toml").starts_with("none.toml: cannot be read"));
    assert!(desk.misuse("train run.toml --scale-from 16").contains("alpha=16"));
    assert!(desk.refusal("train run.toml --resume").contains("holds no run to go on with"));
}

#[test]
fn a_published_recipe_trains_the_same_at_another_alpha() {
    let desk = desk();
    let common = "--set adapter.algorithm=loha --set adapter.text_encoder=false --set train.ema=0.0 \
                  --set train.options={eps=1e-20}";
    let options = |alpha: &str| format!("--set adapter.options={{rank=2,alpha={alpha}}} {common}");
    // A bound that is felt.
    desk.bytes("run.toml", RECIPE.replace("clip = 1.0", "clip = 0.01").as_bytes());
    desk.run(&format!("train run.toml -o published {}", options("16.0"))).succeeds();
    desk.run(&format!("train run.toml -o other {}", options("1.0"))).succeeds();
    let scaled = format!("train run.toml -o scaled --scale-from alpha=16 {}", options("1.0"));
    desk.run(&scaled).succeeds();
    let [published, other, scaled] =
        ["published", "other", "scaled"].map(|folder| losses(&desk, folder));
    let off = |a: &[f64]| {
        a.iter()
            .zip(&published)
            .map(|(a, b)| (a / b - 1.0).abs())
            .max_by(f64::total_cmp)
            .unwrap_or_default()
    };
    assert!(off(&other) > 1e-4, "{other:?} {published:?}");
    assert!(off(&scaled) < 1e-5, "{scaled:?} {published:?}");

    let frozen = "--scale-from alpha=16 --set adapter.algorithm=tlora --set adapter.options={rank=2,alpha=1.0}";
    let error = desk.refusal(&format!("train run.toml -o frozen {frozen}"));
    assert!(
        error.contains("scale_from: tlora at unet.")
            && error
                .contains("it multiplies base_q_layer, base_p_layer, base_lambda_layer as well"),
        "{error}"
    );
}

/// Magnitudes beside the factors do not scale with alpha, yet one bound holds for the norm of all gradients.
#[test]
fn one_bound_holds_for_gradients_that_scale_differently() {
    let desk = desk();
    desk.bytes("run.toml", RECIPE.replace("clip = 1.0", "clip = 0.01").as_bytes());
    for (optimizer, more) in [
        ("adamw", "eps=1e-20"),
        ("sgd", ""),
        ("normalized_sgd", "eps=1e-20"),
        // Its factor of zeros stays, and the other takes up all.
        ("lamb", "eps=1e-20"),
    ] {
        for groups in [false, true] {
            let train = |alpha: f64, from: &str| {
                let run = format!(
                    "train run.toml -o {optimizer}-{groups}-{alpha} --set train.steps=6 {from} \
                     --set adapter.algorithm=lora+dora --set adapter.options={{rank=2,alpha={alpha:?}}} \
                     --set train.optimizer={optimizer} --set train.options={{{more}}} \
                     --set train.clip_groups={groups}"
                );
                desk.run(&run).succeeds();
                losses(&desk, &format!("{optimizer}-{groups}-{alpha}"))
            };
            let (published, scaled) = (train(16.0, ""), train(1.0, "--scale-from alpha=16"));
            let off = published.iter().zip(&scaled).map(|(a, b)| (a / b - 1.0).abs());
            let off = off.max_by(f64::total_cmp).unwrap_or_default();
            assert!(off < 1e-5, "{optimizer} {groups}: {scaled:?} {published:?}");
        }
    }
    let error = desk.refusal(
        "train run.toml -o shared --scale-from alpha=16 --set train.optimizer=prodigy \
         --set adapter.algorithm=lora+dora --set adapter.options={rank=2,alpha=1.0}",
    );
    let expected = "under Prodigy: it has one estimate of a distance for all tensors, and unet.";
    assert!(error.starts_with("scale_from: ") && error.contains(expected), "{error}");
}

#[test]
fn factors_that_start_from_zero_may_learn_faster() {
    let desk = desk();
    let norms = |arguments: &str| -> [f64; 2] {
        desk.run(&format!("train run.toml --overwrite --set train.ema=0.0 {arguments}")).succeeds();
        let file = desk.open("runs/run/lily.safetensors");
        let norm = |stem: &str| {
            let keys = file.names().iter().filter(|key| key.contains(stem));
            let values =
                keys.flat_map(|key| file.read(key).unwrap().iter::<f64>().collect::<Vec<_>>());
            values.map(|x| x * x).sum::<f64>().sqrt()
        };
        [norm(".lora_up."), norm(".lora_down.")]
    };
    let one = "--set adapter.algorithm=lora --set train.steps=1 --set train.schedule={}";
    let [plain, plus] = ["1.0", "16.0"].map(|r| norms(&format!("{one} --set train.loraplus={r}")));
    // Adam's first step is the rate in every direction, whatever the gradient.
    assert!((plus[0] / plain[0] / 16.0 - 1.0).abs() < 1e-3, "{plus:?} {plain:?}");
    assert_eq!(plus[1], plain[1]);
    let single = "train run.toml -o new --set adapter.algorithm=ia3 --set adapter.options={} \
                  --set train.loraplus=4";
    let error = desk.refusal(single);
    assert!(error.contains("train.loraplus: ia3 has at unet."), "{error}");
}

#[test]
fn what_is_held_out_is_measured_with_the_average_that_is_saved() {
    let desk = desk();
    let measured = |ema: f64| {
        let validation = "--set validation.every=12 --set validation.concepts=[{folder='images'}]";
        let run = format!("train run.toml --overwrite --json {validation} --set train.ema={ema:?}");
        let result = desk.run(&run).json();
        ["loss", "validation"].map(|name| result[name].as_f64().unwrap())
    };
    let [last, average] = [0.0, 0.9].map(measured);
    assert_eq!(last[0], average[0]);
    assert_ne!(last[1], average[1]);
}
