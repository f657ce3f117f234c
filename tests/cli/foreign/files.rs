//! Outputs that a user names: one file each, never an input.

use std::{fs, process::Command};

use burn::tensor::{Tensor, TensorData};

use super::planted::Planted;
use crate::cli::{
    reference::write_pipeline,
    run::{BINARY, Desk},
};

/// Models, adapters, noise, a plan, a recipe's neighbours.
fn desk() -> Desk {
    let desk = Desk::new();
    write_pipeline("sd", &desk.path("model"));
    let matrix =
        |x: f32, [rows, cols]: [usize; 2]| TensorData::new(vec![x; rows * cols], [rows, cols]);
    let adapter = [
        ("lycoris_a.lora_down.weight", matrix(0.5, [1, 3])),
        ("lycoris_a.lora_up.weight", matrix(0.5, [2, 1])),
        ("lycoris_a.alpha", TensorData::from([1.0f32])),
    ];
    desk.tensors("adapter", &adapter);
    desk.tensors("base", &[("a.weight", matrix(0.5, [2, 3]))]);
    desk.tensors("tuned", &[("a.weight", matrix(0.75, [2, 3]))]);
    let noise = Tensor::<4>::zeros([1, 4, 8, 8], &Default::default());
    desk.tensors("noise", &[("latents", noise.into_data())]);
    desk.bytes("fit.toml", b"experiment = \"fit\"\naxes.adapter = [\"lora\"]");
    desk.run("sweep plan fit.toml -o plan.jsonl").succeeds();
    desk
}

/// Commands with their inputs; the output comes last.
const COMMANDS: [(&str, &[&str]); 9] = [
    ("merge base adapter -o", &["base", "adapter"]),
    ("convert adapter --base base --to peft -o", &["adapter", "base"]),
    ("resize adapter --rank 1 -o", &["adapter"]),
    ("extract base tuned --adapter lora --rank 1 -o", &["base", "tuned"]),
    ("rank adapter --html", &["adapter"]),
    ("generate --model model --prompt lily --noise noise -o", &["noise", "model/unet/config.json"]),
    (
        "generate --model model --prompt lily -o new.png --save-latents",
        &["model/vae/diffusion_pytorch_model.safetensors"],
    ),
    ("unet --model model --input noise -o", &["noise", "model/unet/config.json"]),
    ("sweep plan fit.toml -o", &["fit.toml"]),
];

#[test]
fn an_output_replaces_neither_input_nor_folder() {
    let desk = desk();
    let mut planted = Planted::on(&desk);
    planted.all(&desk.path("."));
    planted.files(&["folder/a", "there"]);
    for (command, inputs) in COMMANDS {
        for (index, input) in inputs.iter().enumerate() {
            let link = format!("link-{index}");
            let _ = fs::remove_file(desk.path(&link));
            std::os::unix::fs::symlink(desk.path(input), desk.path(&link)).unwrap();
            for name in [*input, &link] {
                for how in ["", "--overwrite"] {
                    let error = planted.misuse(&format!("{command} {name} {how}"));
                    assert!(
                        error.contains(": is an input; name another output"),
                        "{command}: {error}"
                    );
                }
            }
        }
        for how in ["", "--overwrite"] {
            let error = planted.refuse(&format!("{command} folder {how}"));
            assert!(error.starts_with("folder: "), "{command}: {error}");
        }
        let error = planted.refuse(&format!("{command} there"));
        assert!(error.starts_with("there: exists already"), "{command}: {error}");
    }
    planted.are_there();
}

/// PEFT's configuration is read with its adapter.
#[test]
fn an_output_does_not_replace_the_configuration_of_an_input() {
    let desk = desk();
    fs::create_dir(desk.path("peft")).unwrap();
    let adapter = "peft/adapter_model.safetensors";
    desk.run(&format!("convert adapter --base base --to peft -o {adapter}")).succeeds();
    let mut planted = Planted::on(&desk);
    planted.all(&desk.path("peft"));
    for command in [
        "merge base ADAPTER -o",
        "convert ADAPTER --base base --to kohya -o",
        "resize ADAPTER --rank 1 -o",
        "combine ADAPTER ADAPTER -o",
        "rank ADAPTER --html",
        "generate --model model --prompt lily -o new.png --adapter ADAPTER --save-latents",
    ] {
        let command = command.replace("ADAPTER", adapter);
        let error = planted.misuse(&format!("{command} peft/adapter_config.json --overwrite"));
        assert!(error.contains("peft/adapter_config.json: is an input"), "{command}: {error}");
    }
    planted.are_there();
}

/// What a process leaves that is killed while it writes goes with the next output; what is only called alike
/// stays.
#[cfg(target_os = "linux")]
#[test]
fn the_next_output_removes_what_a_dead_process_left() {
    let desk = desk();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let left = format!(".higanbana-{}-a1B2c3", &boot[..8]);
    desk.bytes(&left, b"half");
    let mut planted = Planted::on(&desk);
    planted.files(&[".higanbana-backup", ".higanbana-0badcafe-d4E5f6"]);
    desk.run("sweep plan fit.toml -o other.jsonl").succeeds();
    assert!(!desk.path(&left).exists());
    planted.are_there();
}

/// Of 8192 by 8192 pixels the autoencoder holds 80 channels in single precision.
#[cfg(target_os = "linux")]
#[test]
fn work_for_which_memory_is_lacking_is_refused_before_it_begins() {
    let desk = desk();
    let limited = |arguments: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v 8000000; exec \"$0\" \"$@\"", BINARY]);
        desk.command(command.args(arguments.split_whitespace())).fails()
    };
    let generate = "generate --model model --prompt lily --steps 1 -o new.png";
    let error = limited(&format!("{generate} --width 8192 --height 8192"));
    assert!(error.starts_with("at least 21.5 GB of memory are needed, and "), "{error}");
    assert!(error.contains("make fewer or smaller images, or take --tile"), "{error}");
    desk.bytes("train.toml", TRAIN.as_bytes());
    let error = limited("train train.toml");
    assert!(error.starts_with("at least ") && error.contains("lower train.batch"), "{error}");
    assert!(!desk.path("runs").exists() && !desk.path("new.png").exists());
}

/// Its model fits, and none of its batches.
const TRAIN: &str = r#"
model = "model"
adapter = { algorithm = "lora" }
data = { resolution = 4096, concepts = [{ folder = "images" }] }
train = { steps = 1, batch = 64, rate = 1e-3 }
"#;

#[test]
fn an_export_replaces_neither_input_nor_folder() {
    let desk = desk();
    let mut planted = Planted::on(&desk);
    planted.all(&desk.path("."));
    planted.files(&["there", "folder/a"]);
    for name in ["model", "model/model_index.json"] {
        planted.misuse(&format!("export model --overwrite -o {name}"));
    }
    planted.misuse("export base --config model --overwrite -o model/unet/config.json");
    for name in ["folder", "there"] {
        let error = planted.refuse(&format!("export base --config model -o {name}"));
        assert!(!error.is_empty());
    }
    planted.are_there();
}
