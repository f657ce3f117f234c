//! Files of several programs: what is not applied ends with 1, names come back, metadata stay.

use burn::tensor::TensorData;
use serde_json::Value;

use super::run::Desk;

const TE2: &str = "lora_te2_text_model_encoder_layers_0_mlp_fc1";

fn pair(desk: &Desk, name: &str, module: &str, [up, down]: [&str; 2]) {
    let keys = [up, down].map(|key| format!("{module}.{key}"));
    let [b, a] = [[4, 2], [2, 4]].map(TensorData::ones::<f32, [usize; 2]>);
    desk.tensors(name, &[(&*keys[0], b), (&keys[1], a)]);
}

#[test]
fn a_second_text_encoder_s_update_never_becomes_the_first_s() {
    let desk = Desk::new();
    pair(&desk, "a", TE2, ["lora_up.weight", "lora_down.weight"]);
    let message = desk.refusal("convert a --to lycoris -o out");
    let expected =
        format!("a: module {TE2:?}: its lycoris name is unknown; LyCORIS has one for either");
    assert!(message.starts_with(&expected), "{message}");
    assert_eq!(desk.listing(), ["a"]);
    desk.run("convert a --to diffusers -o there").succeeds();
    desk.run("convert there --to kohya -o back").succeeds();
    assert_eq!(desk.open("back").names()[0], format!("{TE2}.alpha"));
}

#[test]
fn resize_gives_every_module_its_own_name_back() {
    let desk = Desk::new();
    let (loras, peft) =
        (["lora_up.weight", "lora_down.weight"], ["lora_B.weight", "lora_A.weight"]);
    for (module, [up, down], to_diffusers) in [
        ("diffusion_model.double_blocks.0.img_attn.qkv", peft, "the original code's"),
        (
            "diffusion_model.output_blocks.5.1.proj_in",
            loras,
            "unet.up_blocks.1.attentions.2.proj_in",
        ),
        (
            "transformer.transformer_blocks.0.attn.to_q",
            peft,
            "transformer.transformer_blocks.0.attn.to_q",
        ),
        ("double_blocks.0.img_attn.qkv", peft, "the original code's"),
        (
            "blocks.0.cross_attn.k",
            ["lora_B.default.weight", "lora_A.default.weight"],
            "which model it is of",
        ),
        ("lora_unet_double_blocks_0_img_attn_qkv", loras, "--base FILE"),
        ("lora_transformer_single_transformer_blocks_0_attn_to_k", loras, "--base FILE"),
        ("lora_te2_text_projection", loras, "text_encoder_2.text_projection"),
        (
            "text_encoders.clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj",
            loras,
            "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
        ),
        (
            "clip_g.text_model.encoder.layers.0.self_attn.q_proj",
            loras,
            "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj",
        ),
    ] {
        pair(&desk, "a", module, [up, down]);
        desk.run("resize a --rank 1 -o small --overwrite").succeeds();
        for key in [up, down].map(|key| format!("{module}.{key}")) {
            assert!(
                desk.open("small").info(&key).is_some(),
                "{key}: {:?}",
                desk.open("small").names()
            );
        }
        let run = desk.run("convert a --to diffusers -o out --overwrite");
        if to_diffusers.contains(' ') {
            let message = run.fails();
            assert!(message.contains(to_diffusers) && message.contains("--base FILE"), "{message}");
        } else {
            run.succeeds();
            assert_eq!(desk.open("out").names()[0], format!("{to_diffusers}.lora_A.weight"));
        }
    }
}

#[test]
fn what_travels_with_an_adapter_is_carried_and_hashes_are_true() {
    let desk = Desk::new();
    let emb = "bundle_emb.cat.string_to_param.*";
    let tensors = [
        ("lora_unet_conv_in.lora_up.weight", TensorData::ones::<f32, _>([4, 2, 1, 1])),
        ("lora_unet_conv_in.lora_down.weight", TensorData::ones::<f32, _>([2, 4, 3, 3])),
        ("lora_unet_conv_in.alpha", TensorData::from([1.0f32])),
        (emb, TensorData::ones::<f32, _>([2, 3])),
    ];
    let metadata = [
        ("sshs_model_hash", "stale"),
        ("sshs_legacy_hash", "stale"),
        ("modelspec.hash_sha256", "0xstale"),
        ("modelspec.title", "lily"),
        ("ot_config", "{}"),
    ];
    let tensors = tensors.into_iter().map(|(key, data)| (key.to_string(), data)).collect();
    let metadata = metadata.map(|(key, value)| (key.to_string(), value.to_string())).into();
    higanbana_io::writer::write_tensors(&desk.path("a"), &tensors, &metadata, false).unwrap();
    for (command, prefix) in [
        ("resize a --rank 1 -o out", ""),
        ("convert a --to kohya -o out", ""),
        ("convert a --to lycoris -o out", "0x"),
    ] {
        desk.run(&format!("{command} --overwrite")).succeeds();
        let out = desk.open("out");
        assert!(out.info(emb).is_some(), "{command}");
        let all: Vec<_> = out.names().iter().map(|key| out.read(key).unwrap()).collect();
        let hash = higanbana_io::sshs_model_hash(&all);
        let bare = hash.strip_prefix("0x").unwrap();
        assert_eq!(out.metadata()["sshs_model_hash"], format!("{prefix}{bare}"), "{command}");
        assert_eq!(out.metadata()["modelspec.hash_sha256"], hash);
        assert!(!out.metadata().contains_key("sshs_legacy_hash"));
        assert_eq!(
            (&*out.metadata()["modelspec.title"], &*out.metadata()["ot_config"]),
            ("lily", "{}")
        );
    }
    // diffusers refuses any file with a tensor that is no LoRA's.
    let message = desk.refusal("convert a --to diffusers -o none");
    assert!(message.ends_with("--allow-incomplete to go on without them"), "{message}");
    let json = desk.run("convert a --to diffusers -o none --allow-incomplete --json").json();
    assert_eq!(json["leftovers"][0]["name"], emb);
    assert_eq!(json["leftovers"][0]["harmless"], Value::Bool(false));
    assert_eq!(desk.open("none").metadata()["modelspec.title"], "lily");
}

#[test]
fn what_was_asked_for_and_is_not_applied_ends_with_1() {
    let desk = Desk::new();
    let zero = || TensorData::from([[0.0f32]]);
    desk.tensors("base", &[("conv_in.weight", zero()), ("conv_out.weight", zero())]);
    desk.tensors(
        "a",
        &[
            ("lora_unet_conv_in.diff", zero()),
            ("lora_unet_conv_on.diff", zero()),
            ("lora_te_text_model_encoder_layers_0_mlp_fc1.diff", zero()),
        ],
    );
    let message = desk.refusal("merge base a -o out");
    assert_eq!(
        message,
        "a: no use for 1 of its modules and tensors; pass --allow-incomplete to go on without them"
    );
    assert_eq!(desk.listing(), ["a", "base"]);
    desk.run("merge base a -o out --allow-incomplete").succeeds();
    // A text encoder's part could act nowhere in a UNet's own file.
    desk.tensors(
        "b",
        &[
            ("lora_unet_conv_in.diff", zero()),
            ("lora_te_text_model_encoder_layers_0_mlp_fc1.diff", zero()),
        ],
    );
    let run = desk.run("merge base b -o whole");
    run.succeeds();
    assert!(run.err().starts_with("note: b: no use for 1 of its"), "{}", run.err());
}
