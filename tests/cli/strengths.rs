//! Adapters with strengths of their own for each part of a model.

use burn::tensor::TensorData;

use super::run::Desk;

/// A base of zeros with a layer of two blocks of the UNet and one of the text encoder, and an adapter that
/// adds 1 to each element at strength 1.
fn desk() -> Desk {
    let desk = Desk::new();
    let layers = [
        (
            "model.diffusion_model.input_blocks.1.1.proj_in",
            "lora_unet_down_blocks_0_attentions_0_proj_in",
        ),
        (
            "model.diffusion_model.middle_block.1.proj_in",
            "lora_unet_mid_block_attentions_0_proj_in",
        ),
        (
            "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1",
            "lora_te_text_model_encoder_layers_0_mlp_fc1",
        ),
    ];
    let values =
        |value: f32, shape: [usize; 2]| TensorData::new(vec![value; shape[0] * shape[1]], shape);
    let base = layers.map(|(base, _)| (format!("{base}.weight"), values(0.0, [2, 2])));
    let adapter = layers.into_iter().flat_map(|(_, name)| {
        [
            (format!("{name}.lora_up.weight"), values(1.0, [2, 1])),
            (format!("{name}.lora_down.weight"), values(1.0, [1, 2])),
        ]
    });
    let write = |name: &str, tensors: Vec<(String, TensorData)>| {
        let tensors: Vec<_> =
            tensors.iter().map(|(key, data)| (key.as_str(), data.clone())).collect();
        desk.tensors(name, &tensors);
    };
    write("base.safetensors", base.into());
    write("a.safetensors", adapter.collect());
    desk
}

#[test]
fn merge_gives_each_part_its_strength() {
    let desk = desk();
    for (strength, [down, middle, text]) in [
        ("0.5", [0.5, 0.5, 0.5]),
        ("0.5:te=-2", [0.5, 0.5, -2.0]),
        ("te=2:unet=0", [0.0, 0.0, 2.0]),
        ("2:lbw=0,0.25,0,0,0,0,0,-1,0,0,0,0,0,0,0,0,0", [0.5, -2.0, 0.0]),
        ("2:te=4:lbw=0.5,1,0,0,0,0,0,0.5,0,0,0,0,0,0,0,0,0", [2.0, 1.0, 2.0]),
    ] {
        let run = desk.run(&format!(
            "merge base.safetensors a.safetensors:{strength} -o out.safetensors --overwrite --json"
        ));
        let json: serde_json::Value = serde_json::from_str(&run.succeeds()).unwrap();
        for (key, expected) in [
            ("model.diffusion_model.input_blocks.1.1.proj_in.weight", down),
            ("model.diffusion_model.middle_block.1.proj_in.weight", middle),
            ("cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight", text),
        ] {
            assert_eq!(desk.values("out.safetensors", key), [expected; 4], "{strength}: {key}");
        }
        // One number where it is one.
        assert_eq!(json["adapters"][0]["strength"].is_number(), strength == "0.5", "{json}");
    }
    // A layer that is not touched is not counted.
    let run = desk.run("merge base.safetensors a.safetensors:te=0 -o none.safetensors");
    assert!(run.succeeds().contains("none.safetensors: 2 of 3 tensors changed"));
}

#[test]
fn what_is_no_strength_of_a_part_is_refused() {
    let desk = desk();
    let merge = |strength: &str| {
        format!("merge base.safetensors a.safetensors:{strength} -o out.safetensors")
    };
    for (strength, expected) in [
        ("dyn=4", "dyn=4 is no option of an adapter; there are te=MU"),
        ("te=much", "a strength is a number such as 0.8 or -1"),
        ("1:lbw=1,2,3", "lbw has 3 weights; write 17 or 26"),
    ] {
        let error = desk.misuse(&merge(strength));
        assert!(error.contains(expected), "{error}");
    }
    let error = desk.refusal(&merge("lbw=1,1,1,1,1,1,1,1,1,1,1,1"));
    let expected = "a.safetensors: module \"lora_unet_down_blocks_0_attentions_0_proj_in\" is in block \
                    IN01, for which 12 block weights have none";
    assert!(error.starts_with(expected), "{error}");
}
