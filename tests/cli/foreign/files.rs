//! Outputs that a user names: one file each, never an input.

use std::fs;

use burn::tensor::{Tensor, TensorData};

use super::planted::Planted;
use crate::cli::{reference::write_pipeline, run::Desk};

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
