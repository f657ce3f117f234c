use super::*;

/// Keys of a whole UNet, in diffusers' or the original spelling, under a prefix.
fn unet(architecture: Architecture, ldm: bool, prefix: &str) -> Vec<String> {
    let path = |(diffusers, original)| if ldm { original } else { diffusers };
    let key = |module| format!("{prefix}{}.weight", path(module));
    architecture.unet_modules().map(key).collect()
}

/// Asserts that each name means the weight `key`.
fn all_mean(names: &Names, key: &str, spellings: &[&str]) {
    for name in spellings {
        assert_eq!(names.expect(name).unwrap().weight, key, "{name}");
    }
}

const TO_Q: &str = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";

#[test]
fn any_model_answers_to_its_own_paths() {
    let names = Names::new(["a.b.weight", "a.b.bias", "norm.weight", "a.scale", "a.c.weight"]);
    let spellings =
        ["lycoris_a_b", "a.b", "base_model.model.a.b", "lora_unet_a_b", "transformer.a.b"];
    all_mean(&names, "a.b.weight", &spellings);
    let target = names.expect("a.b").unwrap();
    assert_eq!(target.bias.as_deref(), Some("a.b.bias"));
    assert_eq!((target.component, target.part), (Component::Model, None));
    assert_eq!(names.expect("lycoris_norm").unwrap().bias, None);
    assert_eq!(names.find("lycoris_a_scale").unwrap(), None);
    assert_eq!(names.find("a_b").unwrap(), None);
}

#[test]
fn a_diffusers_unet_answers_to_every_spelling() {
    let names = Names::new(unet(Architecture::Sd, false, ""));
    assert_eq!(names.architecture(), Some(Architecture::Sd));
    let spellings = [
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        "lycoris_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q",
        "lycoris_input_blocks_1_1_transformer_blocks_0_attn1_to_q",
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
        "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
        "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q",
        TO_Q,
    ];
    all_mean(&names, &format!("{TO_Q}.weight"), &spellings);
    all_mean(&names, "up_blocks.0.upsamplers.0.conv.weight", &["lora_unet_output_blocks_2_1_conv"]);
}

#[test]
fn a_single_file_of_sd_answers_to_diffusers_names() {
    let mut keys = unet(Architecture::Sd, true, "model.diffusion_model.");
    let text = "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1";
    keys.extend([format!("{text}.weight"), format!("{text}.bias")]);
    keys.push("first_stage_model.encoder.conv_in.weight".into());
    let names = Names::new(&keys);
    let to_q = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight";
    let spellings = [
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q",
        "lycoris_model_diffusion_model_input_blocks_1_1_transformer_blocks_0_attn1_to_q",
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
        TO_Q,
    ];
    all_mean(&names, to_q, &spellings);
    let spellings = [
        "lora_te_text_model_encoder_layers_0_mlp_fc1",
        "lora_te1_text_model_encoder_layers_0_mlp_fc1",
        "text_encoder.text_model.encoder.layers.0.mlp.fc1",
        "text_encoder.encoder.layers.0.mlp.fc1",
        "lycoris_text_model_encoder_layers_0_mlp_fc1",
        "text_model.encoder.layers.0.mlp.fc1",
    ];
    all_mean(&names, &format!("{text}.weight"), &spellings);
    assert_eq!(names.find("lora_te2_text_model_encoder_layers_0_mlp_fc1").unwrap(), None);
    // The UNet's conv_in is not mistaken for the VAE's.
    all_mean(&names, "model.diffusion_model.input_blocks.0.0.weight", &["lora_unet_conv_in"]);
    all_mean(
        &names,
        "first_stage_model.encoder.conv_in.weight",
        &["lycoris_first_stage_model_encoder_conv_in"],
    );
}

#[test]
fn a_single_file_of_sdxl_has_two_text_encoders() {
    let mut keys = unet(Architecture::Sdxl, true, "model.diffusion_model.");
    let one =
        "conditioner.embedders.0.transformer.text_model.encoder.layers.3.self_attn.q_proj.weight";
    let two = "conditioner.embedders.1.model.transformer.resblocks.3.";
    keys.push(one.into());
    for parameter in
        ["attn.in_proj_weight", "attn.in_proj_bias", "mlp.c_fc.weight", "mlp.c_fc.bias"]
    {
        keys.push(format!("{two}{parameter}"));
    }
    keys.push("conditioner.embedders.1.model.text_projection".into());
    let names = Names::new(&keys);
    assert_eq!(names.architecture(), Some(Architecture::Sdxl));
    all_mean(&names, one, &["lora_te1_text_model_encoder_layers_3_self_attn_q_proj"]);

    let fused = format!("{two}attn.in_proj_weight");
    for (index, letter) in ["q", "k", "v"].iter().enumerate() {
        let path = format!("text_model.encoder.layers.3.self_attn.{letter}_proj");
        for name in [format!("lora_te2_{}", flat(&path)), format!("text_encoder_2.{path}")] {
            let target = names.expect(&name).unwrap();
            assert_eq!(target.weight, fused);
            assert_eq!(target.bias.as_deref(), Some(&*format!("{two}attn.in_proj_bias")));
            assert_eq!(target.part, Some(Part { index, of: 3 }));
        }
    }
    let fc1 = names.expect("lora_te2_text_model_encoder_layers_3_mlp_fc1").unwrap();
    assert_eq!((fc1.part, fc1.bias.as_deref()), (None, Some(&*format!("{two}mlp.c_fc.bias"))));

    // Without the encoder in its name, a module of both is ambiguous.
    let error = names.find("lycoris_text_model_encoder_layers_3_self_attn_q_proj").unwrap_err();
    let message = error.to_string();
    assert!(message.contains(one) && message.contains(&fused), "{message}");
}

#[test]
fn open_clip_of_sd2_answers_to_te_names() {
    let key = "cond_stage_model.model.transformer.resblocks.7.ln_2.weight";
    let names = Names::new([key, "cond_stage_model.model.positional_embedding"]);
    all_mean(&names, key, &["lora_te_text_model_encoder_layers_7_layer_norm2"]);
    let position = names.expect("text_encoder.text_model.embeddings.position_embedding").unwrap();
    assert_eq!(position.weight, "cond_stage_model.model.positional_embedding");
}

#[test]
fn text_encoder_files_are_told_apart_by_their_projection() {
    let key = "text_model.encoder.layers.0.mlp.fc1.weight";
    all_mean(&Names::new([key]), key, &["lora_te_text_model_encoder_layers_0_mlp_fc1"]);
    let second = Names::new([key, "text_projection.weight"]);
    all_mean(&second, key, &["lora_te2_text_model_encoder_layers_0_mlp_fc1"]);
    assert_eq!(second.find("lora_te1_text_model_encoder_layers_0_mlp_fc1").unwrap(), None);
}

#[test]
fn text_encoders_answer_with_and_without_their_outermost_module() {
    const PATH: &str = "encoder.layers.0.self_attn.q_proj";
    let names = ["text_model.", ""].map(|outer| format!("{outer}{PATH}"));
    for (prefix, te, rest) in [
        ("", ["lora_te_", "lora_te1_"], "embeddings.token_embedding.weight"),
        ("", ["lora_te_", "lora_te1_"], "final_layer_norm.weight"),
        ("", ["lora_te2_", "lora_te2_"], "text_projection.weight"),
        ("text_encoder.", ["lora_te_", "text_encoder."], "unet.conv_in.weight"),
        ("cond_stage_model.transformer.", ["lora_te_", "text_encoder."], "x"),
        (
            "conditioner.embedders.0.transformer.",
            ["lora_te1_", "text_encoders.clip_l.transformer."],
            "x",
        ),
        ("text_encoders.clip_l.transformer.", ["lora_te1_", "clip_l."], "x"),
        ("text_encoders.clip_g.transformer.", ["lora_te2_", "text_encoder_2."], "x"),
    ] {
        // Only with an embedding or a last norm at the root is a bare file a text encoder.
        for path in &names {
            let key = format!("{prefix}{path}.weight");
            let root =
                if rest == "text_projection.weight" { "final_layer_norm.weight" } else { rest };
            let base = Names::new([&*key, rest, root]);
            for begin in te {
                for name in &names {
                    let name = if begin.ends_with('_') { flat(name) } else { name.clone() };
                    all_mean(&base, &key, &[&format!("{begin}{name}")]);
                }
            }
        }
    }
    let other = Names::new(["encoder.layers.0.self_attn.q_proj.weight"]);
    assert!(other.has(Component::Model) && !other.has(Component::TextEncoder));
}

#[test]
fn a_prefix_that_is_not_known_is_said() {
    let names = Names::new(["conv_in.weight", "down_blocks.0.x.weight"]);
    let message = names.expect("lora_unit_conv_in").unwrap_err().to_string();
    assert!(message.starts_with("begins with no known prefix, not in the base"), "{message}");
    let message = names.expect("lora_unet_conv_out").unwrap_err().to_string();
    assert!(message.starts_with("not in the base"), "{message}");
}

#[test]
fn names_are_never_split_at_underscores() {
    let names = Names::new(["x.to_q.weight", "x_to.q.weight", "x.to_k.weight"]);
    let error = names.find("lycoris_x_to_q").unwrap_err();
    assert!(matches!(error, NameError::Ambiguous { .. }));
    let message = error.to_string();
    assert!(message.contains("x.to_q.weight") && message.contains("x_to.q.weight"), "{message}");
    // The dotted names differ, and so does a module that nothing else flattens to.
    all_mean(&names, "x_to.q.weight", &["x_to.q"]);
    all_mean(&names, "x.to_k.weight", &["lycoris_x_to_k"]);
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let names = Names::new(["mlp.fc1.weight", "mlp.fc2.weight", "attn.weight"]);
    let message = names.expect("lycoris_mlp_fc3").unwrap_err().to_string();
    assert!(message.starts_with("not in the base; nearest: lycoris_mlp_fc1, lycoris_mlp_fc2"));
}

#[test]
fn parts_are_equal_blocks_of_rows() {
    let value = Part { index: 2, of: 3 };
    assert_eq!(value.rows(3840), Some(2560..3840));
    assert_eq!(value.rows(3841), None);
}

#[test]
fn published_architectures_are_known_without_a_base() {
    let sd = Names::of(Architecture::Sd);
    let sdxl = Names::of(Architecture::Sdxl);
    for (names, name, known) in [
        (&sd, "lora_te_text_model_encoder_layers_22_mlp_fc2", true),
        (&sd, "lora_unet_down_blocks_3_resnets_1_conv2", true),
        (&sd, "lora_te2_text_model_encoder_layers_0_mlp_fc2", false),
        (&sdxl, "lora_te2_text_model_encoder_layers_31_self_attn_v_proj", true),
        (&sdxl, "lora_unet_output_blocks_0_1_transformer_blocks_9_attn2_to_out_0", true),
        (&sdxl, "lora_unet_down_blocks_3_resnets_1_conv2", false),
    ] {
        assert_eq!(names.find(name).unwrap().is_some(), known, "{name}");
    }
}

#[test]
fn old_names_of_diffusers_mean_a_model_of_any_kind() {
    let names = Names::new(["a.lin.weight"]);
    all_mean(&names, "a.lin.weight", &["unet.a.lin", "transformer.a.lin", "lora_unet_a_lin"]);
}

#[test]
fn names_in_messages_are_of_one_line() {
    let names = Names::new(["a\u{1b}[31m\n.weight"]);
    let message = names.expect("a").unwrap_err().to_string();
    assert!(!message.contains(char::is_control) && message.contains("\\u{1b}[31m\\n"), "{message}");
}

#[test]
fn a_name_of_a_model_that_the_base_lacks_says_so() {
    let unet = Names::new(unet(Architecture::Sd, false, ""));
    let text = Names::new(["text_model.encoder.layers.0.mlp.fc1.weight"]);
    let other = Names::new(["a.b.weight"]);
    for (names, name, model) in [
        (&unet, "lora_te_text_model_encoder_layers_0_mlp_fc1", "of the text encoder, "),
        (&unet, "text_encoder.text_model.encoder.layers.0.mlp.fc1", "of the text encoder, "),
        (&unet, "lora_te2_text_model_encoder_layers_0_mlp_fc1", "of the second text encoder, "),
        (&text, "lora_unet_conv_in", "of the UNet, "),
        (&other, "lora_te1_text_model_x", "of the text encoder, "),
        (&other, "lora_unet_a_c", "not in the base; nearest: lora_unet_a_b, "),
        (&unet, "lora_unet_conv", "not in the base; nearest: lora_unet_conv_in, "),
        (&unet, "lycoris_text_model", "not in the base; nearest: "),
    ] {
        let message = names.expect(name).unwrap_err().to_string();
        assert!(message.starts_with(model), "{name}: {message}");
    }
}
