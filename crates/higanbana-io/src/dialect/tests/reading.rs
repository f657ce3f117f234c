use super::*;

/// The value of a module's alpha.
fn alpha(file: &AdapterFile, module: &str) -> f32 {
    file.modules[module]["alpha"].as_slice::<f32>().unwrap()[0]
}

#[test]
fn the_same_tensors_are_found_under_every_spelling() {
    let (down, up) = (ramp([2, 3], 1.0), ramp([4, 2], 0.5));
    let spellings = [
        ("lycoris_a_b", "lora_down.weight", "lora_up.weight", Dialect::Lycoris),
        ("lora_unet_a_b", "lora_down.weight", "lora_up.weight", Dialect::Kohya),
        ("lora_te1_a_b", "lora_down.weight", "lora_up.weight", Dialect::Kohya),
        ("unet.a.b", "lora_A.weight", "lora_B.weight", Dialect::Diffusers),
        ("unet.a.b", "lora.down.weight", "lora.up.weight", Dialect::Diffusers),
        (
            "text_encoder.a.b",
            "lora_linear_layer.down.weight",
            "lora_linear_layer.up.weight",
            Dialect::Diffusers,
        ),
        ("a.b", "lora_down.weight", "lora_up.weight", Dialect::Diffusers),
        ("base_model.model.a.b", "lora_A.weight", "lora_B.weight", Dialect::Peft),
        ("base_model.model.a.b", "lora_A.default.weight", "lora_B.default.weight", Dialect::Peft),
    ];
    for (module, a, b, dialect) in spellings {
        let keys = (format!("{module}.{a}"), format!("{module}.{b}"));
        let file = Fixture::new([(&keys.0, down.clone()), (&keys.1, up.clone())]).read();
        assert_eq!(file.dialect, dialect, "{module}.{a}");
        let expected = Tensors::from([
            ("lora_down.weight".into(), down.clone()),
            ("lora_up.weight".into(), up.clone()),
        ]);
        assert_eq!(file.modules, BTreeMap::from([(module.to_string(), expected)]));
        assert!(file.unused.is_empty());
    }
}

#[test]
fn old_diffusers_names_become_module_paths() {
    let file = Fixture::new([
        ("unet.d.attn1.processor.to_out_lora.down.weight", ramp([1, 2], 1.0)),
        ("unet.d.attn1.processor.to_out_lora.up.weight", ramp([2, 1], 1.0)),
        ("text_encoder.l.self_attn.to_q_lora.down.weight", ramp([1, 2], 1.0)),
    ])
    .read();
    let modules: Vec<_> = file.modules.keys().collect();
    assert_eq!(modules, ["text_encoder.l.self_attn.q_proj", "unet.d.attn1.to_out.0"]);
}

#[test]
fn peft_keeps_alpha_beside_the_file() {
    let fixture = || {
        Fixture::new([
            ("base_model.model.a.q.lora_A.weight", ramp([4, 2], 1.0)),
            ("base_model.model.a.q.lora_B.weight", ramp([2, 4], 1.0)),
            ("base_model.model.a.k.lora_A.weight", ramp([2, 2], 1.0)),
        ])
    };
    let with = fixture().config(r#"{"r": 4, "lora_alpha": 16, "alpha_pattern": {"k": 6}}"#).read();
    assert_eq!(alpha(&with, "base_model.model.a.q"), 16.0);
    assert_eq!(alpha(&with, "base_model.model.a.k"), 6.0);
    let stable = fixture().config(r#"{"r": 4, "lora_alpha": 16, "use_rslora": true}"#).read();
    assert_eq!(alpha(&stable, "base_model.model.a.q"), 32.0);

    let without = fixture();
    let reader = without.open().unwrap();
    assert!(reader.notes()[0].contains("no adapter_config.json"));
    assert!(!reader.read("base_model.model.a.q").unwrap().contains_key("alpha"));
}

#[test]
fn an_alpha_in_the_file_counts_before_the_configuration() {
    let file = Fixture::new([
        ("base_model.model.a.lora_A.weight", ramp([4, 2], 1.0)),
        ("base_model.model.a.alpha", number(3.0)),
    ])
    .config(r#"{"lora_alpha": 16}"#)
    .read();
    assert_eq!(alpha(&file, "base_model.model.a"), 3.0);
}

#[test]
fn diffusers_keeps_alpha_in_the_metadata() {
    let metadata = r#"{"unet.r": 4, "unet.lora_alpha": 8, "unet.alpha_pattern": {"a.k": 1},
        "text_encoder.lora_alpha": 2}"#;
    let file = Fixture::with_metadata(
        [
            ("unet.a.q.lora_A.weight", ramp([4, 2], 1.0)),
            ("unet.a.k.lora_A.weight", ramp([4, 2], 1.0)),
            ("text_encoder.a.q.lora_A.weight", ramp([4, 2], 1.0)),
            ("text_encoder_2.a.q.lora_A.weight", ramp([4, 2], 1.0)),
        ],
        &[("lora_adapter_metadata", metadata)],
    )
    .read();
    assert_eq!(alpha(&file, "unet.a.q"), 8.0);
    assert_eq!(alpha(&file, "unet.a.k"), 1.0);
    assert_eq!(alpha(&file, "text_encoder.a.q"), 2.0);
    assert!(!file.modules["text_encoder_2.a.q"].contains_key("alpha"));
}

#[test]
fn magnitudes_get_lycoris_s_shape() {
    let file = Fixture::new([
        ("base_model.model.l.lora_magnitude_vector", ramp([3], 1.0)),
        ("base_model.model.l.lora_A.weight", ramp([1, 2], 1.0)),
        ("base_model.model.c.lora_magnitude_vector", ramp([1, 3, 1, 1], 1.0)),
        ("base_model.model.c.lora_A.weight", ramp([1, 2, 3, 3], 1.0)),
    ])
    .config("{}")
    .read();
    assert_eq!(file.modules["base_model.model.l"]["dora_scale"], ramp([3, 1], 1.0));
    assert_eq!(file.modules["base_model.model.c"]["dora_scale"], ramp([3, 1, 1, 1], 1.0));
}

#[test]
fn peft_scales_two_whole_kronecker_factors() {
    // PEFT: alpha / r kron(w1, w2) in any case; LyCORIS scales only where a factor is decomposed.
    let file = Fixture::new([
        ("base_model.model.whole.lokr_w1", ramp([2, 2], 1.0)),
        ("base_model.model.whole.lokr_w2", ramp([2, 2], 1.0)),
        ("base_model.model.parts.lokr_w1", ramp([2, 2], 1.0)),
        ("base_model.model.parts.lokr_w2_a", ramp([2, 4], 1.0)),
        ("base_model.model.parts.lokr_w2_b", ramp([4, 2], 1.0)),
    ])
    .config(r#"{"peft_type": "LOKR", "r": 4, "alpha": 2}"#)
    .read();
    let whole = &file.modules["base_model.model.whole"];
    assert_eq!(whole["lokr_w1"], ramp([2, 2], 0.5));
    assert_eq!(whole["lokr_w2"], ramp([2, 2], 1.0));
    assert!(!whole.contains_key("alpha"));
    assert_eq!(alpha(&file, "base_model.model.parts"), 2.0);
    assert_eq!(file.modules["base_model.model.parts"]["lokr_w1"], ramp([2, 2], 1.0));
}

#[test]
fn tensors_are_described_without_reading_them() {
    let fixture = Fixture::new([
        ("base_model.model.a.lora_A.weight", ramp([4, 2], 1.0)),
        ("base_model.model.a.lora_B.weight", ramp([2, 4], 1.0)),
    ])
    .config(r#"{"lora_alpha": 8}"#);
    let reader = fixture.open().unwrap();
    assert_eq!(reader.modules().collect::<Vec<_>>(), ["base_model.model.a"]);
    let shapes: Vec<_> = reader
        .tensors("base_model.model.a")
        .map(|(suffix, info)| (suffix, info.map(|info| info.shape.clone())))
        .collect();
    assert_eq!(
        shapes,
        [
            ("alpha", None),
            ("lora_down.weight", Some(vec![4, 2])),
            ("lora_up.weight", Some(vec![2, 4]))
        ]
    );
}

#[test]
fn what_is_no_part_of_the_adapter_is_listed() {
    let fixture = Fixture::new([
        ("lycoris_a.diff", ramp([2], 1.0)),
        ("lycoris_a.mystery", ramp([2], 1.0)),
        ("lycoris_b.alpha", number(1.0)),
        ("lycoris_norm.weight", ramp([2], 1.0)),
        ("lycoris_scaled.weight", ramp([2], 1.0)),
        ("lycoris_scaled.on_input", number(1.0)),
        ("bundle_emb.cat.string_to_param.*", ramp([2], 1.0)),
    ]);
    let file = fixture.read();
    assert_eq!(file.modules.keys().collect::<Vec<_>>(), ["lycoris_a", "lycoris_scaled"]);
    let listed: Vec<String> = file.unused.iter().map(ToString::to_string).collect();
    assert_eq!(
        listed,
        [
            "\"bundle_emb.cat.string_to_param.*\": an embedding bundled with the adapter, not part of it",
            "\"lycoris_a.mystery\": no tensor of a known adapter is called so",
            "\"lycoris_b.alpha\": an alpha without the tensors it scales",
            "\"lycoris_norm.weight\": a tensor of the model itself, not of an adapter",
        ]
    );
}

#[test]
fn attack_a_model_is_no_adapter() {
    let fixture =
        Fixture::new([("conv_in.weight", ramp([2], 1.0)), ("conv_in.bias", ramp([2], 1.0))]);
    let message = fixture.open().unwrap_err().to_string();
    assert!(
        message.contains("holds no adapter, none of its 2 tensors belongs to one"),
        "{message}"
    );
    let message = Fixture::new([]).open().unwrap_err().to_string();
    assert!(message.contains("holds no adapter, it has no tensors"), "{message}");
}

#[test]
fn attack_one_tensor_in_two_spellings() {
    let fixture = Fixture::new([
        ("unet.a.lora_A.weight", ramp([1, 2], 1.0)),
        ("unet.a.lora.down.weight", ramp([1, 2], 1.0)),
    ]);
    let message = fixture.open().unwrap_err().to_string();
    assert!(
        message.contains("\"unet.a.lora_A.weight\"")
            && message.contains("\"unet.a.lora.down.weight\"")
    );
}

#[test]
fn attack_not_a_number() {
    let fixture = Fixture::new([
        ("lycoris_a.lora_up.weight", TensorData::new(vec![1.0f32, f32::NAN], [2, 1])),
        ("lycoris_a.lora_down.weight", ramp([1, 2], 1.0)),
    ]);
    let message = fixture.open().unwrap().read_all().unwrap_err().to_string();
    assert!(message.contains("\"lycoris_a.lora_up.weight\" is NaN at element 1"), "{message}");
}

#[test]
fn attack_configurations() {
    for (json, what) in [
        ("{", "configuration is invalid"),
        (r#"{"lora_alpha": "high"}"#, "configuration is invalid"),
        (r#"{"lora_alpha": 1e999}"#, "configuration is invalid"),
        (r#"{"fan_in_fan_out": true}"#, "fan_in_fan_out"),
        (r#"{"init_lora_weights": "pissa"}"#, "path_initial_model_for_weight_conversion"),
    ] {
        let fixture = Fixture::new([("base_model.model.a.lora_A.weight", ramp([1, 2], 1.0))]);
        let message = fixture.config(json).open().unwrap_err().to_string();
        assert!(message.contains(what) && !message.contains('\n'), "{message}");
    }
    let fixture = Fixture::with_metadata(
        [("unet.a.lora_A.weight", ramp([1, 2], 1.0))],
        &[("lora_adapter_metadata", "[1]")],
    );
    assert!(matches!(fixture.open(), Err(FileError::Config { .. })));
}

#[test]
fn an_option_that_nobody_knows_is_said() {
    let fixture = Fixture::new([("base_model.model.a.lora_A.weight", ramp([1, 2], 1.0))])
        .config(r#"{"lora_alpha": 1, "lora_dropout": 0.5, "novel": 3}"#);
    let reader = fixture.open().unwrap();
    let [note] = reader.notes() else { panic!("{:?}", reader.notes()) };
    assert!(note.ends_with("PEFT's option novel is not known and ignored"), "{note}");
    assert_eq!(reader.files().len(), 2);
}

#[test]
fn what_peft_computes_otherwise_is_refused() {
    // PEFT 0.21.2: B of a grouped convolution has r / groups columns, A sees the channels of all.
    let grouped = Fixture::new([
        ("base_model.model.c.lora_A.weight", ramp([2, 8, 3, 3], 1.0)),
        ("base_model.model.c.lora_B.weight", ramp([12, 1, 1, 1], 1.0)),
    ]);
    // PEFT's kron of a matrix and a kernel of one axis pads the matrix in front.
    let line = Fixture::new([
        ("base_model.model.c.lokr_w1", ramp([3, 2], 1.0)),
        ("base_model.model.c.lokr_w2", ramp([4, 4, 3], 1.0)),
    ]);
    for (fixture, what) in
        [(grouped, "a LoRA of a grouped convolution"), (line, "lokr_w2 is whole")]
    {
        for fixture in [fixture.open().unwrap_err(), fixture.config("{}").open().unwrap_err()] {
            let message = fixture.to_string();
            let begin = format!("module \"base_model.model.c\": {what}");
            assert!(message.contains(&begin) && !message.contains('\n'), "{message}");
        }
    }
}
