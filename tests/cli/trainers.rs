//! Files of OneTrainer, PEFT and ai-toolkit, and T5's part of adapters, as a user meets them.

use std::path::Path;

use burn::tensor::{Device, TensorData};

use super::{formula, reference::write_pipeline, run::Desk};

/// A committed file.
fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference");
    folder.join(name).display().to_string()
}

#[test]
fn every_command_takes_what_other_trainers_write() {
    let desk = Desk::new();
    for (adapter, base, algorithm) in [
        ("onetrainer_oft.safetensors", "base", "oftv2"),
        ("onetrainer_oft_dotted.safetensors", "base", "oftv2"),
        ("peft_oft", "peft_base", "oftv2"),
        ("peft_oft_exact", "peft_base", "oftv2"),
        ("aitoolkit_lora.safetensors", "base", "lora"),
        ("aitoolkit_lokr.safetensors", "base", "lokr"),
        ("aitoolkit_dora.safetensors", "base", "lora+dora"),
        ("aitoolkit_flux.safetensors", "flux", "lokr"),
    ] {
        let adapter = fixture(&format!("trainers/{adapter}"));
        let base = fixture(&format!("trainers/{base}.safetensors"));
        let out = desk.run(&format!("inspect {adapter}")).succeeds();
        assert!(out.contains(algorithm), "{out}");
        for command in [
            format!("inspect {adapter} --base {base} --strict"),
            format!("rank {adapter} --base {base}"),
            format!("merge {base} {adapter}:0.7 -o merged --overwrite"),
            format!("convert {adapter} --base {base} --to kohya -o kohya --overwrite"),
            format!("convert {adapter} --base {base} --to lycoris -o lycoris --overwrite"),
            format!("convert {adapter} --base {base} --to lycoris --bake full -o b --overwrite"),
        ] {
            desk.run(&command).succeeds();
        }
    }
    let oft = fixture("trainers/peft_oft");
    let message = desk.refusal(&format!("convert {oft} --to peft -o new"));
    assert!(message.contains("oft_R.terms cannot be written as peft"), "{message}");
}

/// OneTrainer's rotations turn the layers of a pipeline, and at strength 0 none.
#[test]
fn rotations_of_inputs_sample() {
    let desk = Desk::new();
    write_pipeline("sd", &desk.path("model"));
    let noise = formula::tensor::<4>("pipeline noise", [1, 4, 8, 6], &Device::default());
    desk.tensors("noise.safetensors", &[("latents", noise.into_data())]);
    // Blocks of two channels, all turned alike.
    let proj = "lora_unet_mid_block_attentions_0_proj_in.oft_R.weight";
    desk.tensors("oft", &[(proj, TensorData::new(vec![0.4f32], [1, 1]))]);
    let latents = |adapter: &str| {
        let run = "generate --model model --prompt lily --steps 2 --noise noise.safetensors";
        let out = "-o a.png --save-latents a.safetensors --overwrite";
        desk.run(&format!("{run} {adapter} {out}")).succeeds();
        desk.values("a.safetensors", "latents")
    };
    let plain = latents("");
    assert_eq!(latents("--adapter oft:0"), plain);
    assert_ne!(latents("--adapter oft"), plain);
}

/// What names T5: no model here has it, so that it is said and kept, and never becomes another's.
#[test]
fn t5_s_part_is_kept_and_never_another_s() {
    let desk = Desk::new();
    let q = "encoder.block.0.layer.0.SelfAttention.q";
    let flat = q.replace('.', "_");
    let base = [
        ("unet.conv_in.weight", TensorData::zeros::<f32, _>([4, 4, 1, 1])),
        (
            "text_encoder.text_model.encoder.layers.0.mlp.fc1.weight",
            TensorData::zeros::<f32, _>([4, 4]),
        ),
    ];
    desk.tensors("both", &base);
    desk.tensors("unet", &base[..1]);
    for module in [
        format!("lora_te3_{flat}"),
        format!("text_encoder_3.{q}"),
        format!("text_encoders.t5xxl.transformer.{q}"),
        format!("t5xxl.transformer.{q}"),
    ] {
        let keys =
            ["alpha", "lora_down.weight", "lora_up.weight"].map(|it| format!("{module}.{it}"));
        let [down, up] = [[2, 4], [4, 2]].map(TensorData::ones::<f32, [usize; 2]>);
        let alpha = TensorData::from([2.0f32]);
        let tensors = [(&*keys[0], alpha), (&*keys[1], down), (&*keys[2], up)];
        desk.tensors("a", &tensors);
        desk.run("resize a --rank 4 -o same --overwrite").succeeds();
        assert_eq!(desk.open("same").names(), desk.open("a").names());
        for key in &keys {
            let [a, same] = ["a", "same"].map(|it| desk.open(it).read_bytes(key).unwrap());
            assert_eq!(a, same, "{key}");
        }
        for to in ["lycoris", "peft", "diffusers", "kohya"] {
            let is_own = to == "kohya" && module.starts_with("lora_te3_")
                || to == "diffusers" && module.starts_with("text_encoder_3.");
            if is_own {
                desk.run(&format!("convert a --to {to} -o own --overwrite")).succeeds();
                let own = desk.open("own");
                assert!(own.names().iter().all(|key| key.starts_with(&*module)), "{own:?}");
                continue;
            }
            let message = desk.run(&format!("convert a --to {to} -o new")).fails();
            assert!(message.contains("T5's") && message.contains("resize"), "{message}");
        }
        for base in ["unet", "both"] {
            let run = desk.run(&format!("merge {base} a -o merged --overwrite"));
            assert_eq!(run.code(), Some(1), "{}", run.err());
            let said = run.out() + &run.err();
            assert!(said.contains("of the T5 text encoder, which the base lacks"), "{said}");
        }
    }
}
