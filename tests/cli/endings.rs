//! Outputs of tensors that are called as another format is.

use burn::tensor::TensorData;

use super::run::Desk;

/// Every command that writes tensors to a name of the user's. The output comes last; nothing else is looked at
/// before it.
const COMMANDS: [&str; 8] = [
    "merge base adapter -o",
    "convert adapter --to kohya -o",
    "resize adapter --rank 1 -o",
    "combine adapter adapter -o",
    "extract base tuned --adapter lora --rank 1 -o",
    "export model -o",
    "unet --model model --input noise -o",
    "generate --model model --prompt lily -o new.png --save-latents",
];

#[test]
fn tensors_are_not_written_under_the_name_of_another_format() {
    let desk = Desk::new();
    for command in COMMANDS {
        for name in ["out.pt", "out.bin", "out.ckpt", "a.safetensors.PTH", "out.gguf"] {
            for how in ["", "--overwrite"] {
                let error = desk.misuse(&format!("{command} {name} {how}"));
                let expected = "tensors are written as safetensors; name it .safetensors";
                assert!(error.contains(name) && error.contains(expected), "{command}: {error}");
            }
        }
    }
}

#[test]
fn other_names_are_as_they_are_given() {
    let desk = Desk::new();
    let matrix =
        |x: f32, [rows, cols]: [usize; 2]| TensorData::new(vec![x; rows * cols], [rows, cols]);
    let adapter = [
        ("lycoris_a.lora_down.weight", matrix(0.5, [1, 3])),
        ("lycoris_a.lora_up.weight", matrix(0.5, [2, 1])),
    ];
    desk.tensors("adapter", &adapter);
    desk.tensors("base", &[("a.weight", matrix(0.5, [2, 3]))]);
    for name in ["merged", "merged.safetensors", "merged.SAFETENSORS", "merged-v1.5", "pt"] {
        desk.run(&format!("merge base adapter -o {name}")).succeeds();
        assert_eq!(desk.open(name).names(), ["a.weight"]);
    }
}
