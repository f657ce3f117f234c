//! Files in another dialect or algorithm.

use std::collections::BTreeSet;

use super::*;

struct How<'a> {
    to: Dialect,
    bake: Option<(&'a str, Budget)>,
    base: Option<PathBuf>,
}

impl How<'_> {
    fn run(&self, path: &Path) -> Result<Converted, RefitError> {
        let registry = registry();
        let bake = self.bake.map(|(name, budget)| {
            let choice = Choice::named(&registry, name)?;
            Ok::<_, RefitError>(Bake { choice, budget, dtype: None })
        });
        let convert = Convert {
            registry: &registry,
            to: self.to,
            base: self.base.as_deref(),
            bake: bake.transpose()?,
            device: Device::flex(),
            compute: DType::F64,
        };
        convert.run(path, |_, _| ())
    }
}

fn case(name: &str) -> PathBuf {
    reference(&format!("lycoris/{name}.safetensors"))
}

fn base() -> PathBuf {
    reference("lycoris/base.safetensors")
}

/// Every case of the manifest whose file alone says what it does.
fn cases() -> Vec<String> {
    let text = std::fs::read_to_string(reference("lycoris/manifest.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let whole = cases.iter().filter(|case| case["base_file"].is_null());
    whole.map(|case| case["case"].as_str().unwrap().to_string()).collect()
}

#[test]
fn the_same_dialect_is_the_same_file() {
    for name in cases() {
        let how = How { to: Dialect::Lycoris, bake: None, base: None };
        let converted = how.run(&case(&name)).unwrap();
        let original = Checkpoint::open(case(&name)).unwrap();
        let keys: BTreeSet<_> = original.names().iter().collect();
        assert_eq!(converted.file.tensors.keys().collect::<BTreeSet<_>>(), keys, "{name}");
        for (key, data) in &converted.file.tensors {
            data.assert_eq(&original.read(key).unwrap(), true);
        }
        assert!(converted.layers.is_empty());
        // What is taken to be so is said: that a start was principal, that there was no rs_lora.
        let is_open = name == "tlora_principal" || name.starts_with("glora");
        assert_eq!(converted.notes.len(), usize::from(is_open), "{name}");
        assert!(converted.leftovers.is_empty(), "{name}");
    }
}

#[test]
fn a_file_describes_itself_as_far_as_its_tensors_tell() {
    for (name, args) in [
        ("lora", r#"{"algo":"lora"}"#),
        ("loha", r#"{"algo":"loha"}"#),
        ("lora_dora_out", r#"{"algo":"lora","dora_wd":"True"}"#),
    ] {
        let how = How { to: Dialect::Kohya, bake: None, base: None };
        let about = how.run(&case(name)).unwrap().file.metadata;
        let original = Checkpoint::open(case(name)).unwrap();
        let said = |key: &str| original.metadata().get(key).cloned();
        let alpha = original.names().iter().find(|key| key.ends_with(".alpha")).unwrap();
        let alpha = values(&original, alpha)[0];
        assert_eq!(about["ss_network_dim"], said("ss_network_dim").unwrap_or("4".into()), "{name}");
        let expected = said("ss_network_alpha").unwrap_or(alpha.to_string());
        assert_eq!(about["ss_network_alpha"], expected, "{name}");
        assert_eq!(about["ss_network_args"], said("ss_network_args").unwrap_or(args.into()));
        assert_eq!(about["ss_network_module"], "lycoris.kohya");
        assert_eq!(about["sshs_model_hash"].len(), 64, "without 0x");
    }
}

#[test]
fn a_base_tells_its_family_and_a_file_keeps_what_it_says() {
    let files = Files::new();
    let base = files.write(
        "base",
        &[
            (
                "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
                noise(&[4, 768], 1),
            ),
            ("conv_in.weight", noise(&[4, 4, 3, 3], 2)),
        ],
    );
    let tensors = BTreeMap::from([
        ("lora_unet_conv_in.diff".to_string(), noise(&[4, 4, 3, 3], 3)),
        ("lora_unet_conv_in.hada_t1".to_string(), noise(&[2], 4)),
    ]);
    let said = [("ss_network_args", "mine"), ("ss_network_dim", "7")];
    let said = said.map(|(key, value)| (key.to_string(), value.to_string()));
    let path = files.path("said");
    write_tensors(&path, &tensors, &BTreeMap::from(said), true).unwrap();
    let run = |bake| How { to: Dialect::Kohya, bake, base: Some(base.clone()) }.run(&path).unwrap();
    let plain = run(None);
    assert_eq!(plain.file.metadata["ss_base_model_version"], "sd_v1");
    assert_eq!(plain.file.metadata["ss_network_args"], "mine");
    assert_eq!(plain.file.metadata["ss_network_dim"], "7");
    assert_eq!(plain.leftovers, []);
    let baked = run(Some(("lora", Budget::Rank(2))));
    assert_eq!(baked.file.metadata["ss_base_model_version"], "sd_v1");
    assert_eq!(baked.file.metadata["ss_network_args"], r#"{"algo":"lora"}"#);
    assert_eq!(baked.file.metadata["ss_network_dim"], "2");
    let left = baked.leftovers[0].to_string();
    assert_eq!(left, "lora_unet_conv_in.hada_t1: not used by its adapter");
}

#[test]
fn baked_into_differences_every_file_acts_as_before() {
    let files = Files::new();
    for name in cases() {
        let bake = Some(("full", Budget::Energy(1.0)));
        let how = How { to: Dialect::Kohya, bake, base: Some(base()) };
        let converted = how.run(&case(&name)).unwrap();
        converted.file.write(&files.path("diff"), true).unwrap();
        let before = files.merged(&base(), &case(&name));
        let after = files.merged(&base(), &files.path("diff"));
        let original = Checkpoint::open(base()).unwrap();
        // A 16-bit file stays one, at the rounding of its type.
        let rounding = match name.rsplit_once('_') {
            Some((_, "f16")) => 1e-3,
            Some((_, "bf16")) => 1e-2,
            _ => 1e-6,
        };
        assert!(converted.total().relative() < rounding, "{name}");
        for key in original.names() {
            let (w0, w) = (values(&original, key), values(&before, key));
            let error = distance(&values(&after, key), &w);
            // Merged weights are f32 themselves.
            let rounded = 1e-7 * distance(&w, &vec![0.0; w.len()]);
            assert!(error <= rounding * distance(&w, &w0) + rounded, "{name} {key}: {error}");
        }
    }
}

#[test]
fn baked_into_lora_every_weight_is_the_best_of_its_rank() {
    let files = Files::new();
    for name in ["loha", "lokr_factor_4", "lokr_dora_out", "boft", "ia3_output", "glora", "full"] {
        let bake = Some(("lora", Budget::Rank(3)));
        let how = How { to: Dialect::Diffusers, bake, base: Some(base()) };
        let converted = match name {
            "full" => {
                // Its biases have no place in LoRA.
                let message = how.run(&case(name)).unwrap_err().to_string();
                assert!(
                    message.contains("lora has no place for the update of a bias"),
                    "{message}"
                );
                assert!(message.contains("bake it into full"), "{message}");
                continue;
            }
            _ => how.run(&case(name)).unwrap(),
        };
        converted.file.write(&files.path("lora"), true).unwrap();
        let before = files.merged(&base(), &case(name));
        let after = files.merged(&base(), &files.path("lora"));
        let original = Checkpoint::open(base()).unwrap();
        let mut lost = 0.0;
        for key in original.names().iter().filter(|key| key.ends_with(".weight")) {
            let update = matrix(&before.read(key).unwrap()) - matrix(&original.read(key).unwrap());
            let error = distance(&values(&after, key), &values(&before, key));
            let norm = tail(&update, 0);
            assert!((error - tail(&update, 3)).abs() <= 1e-5 * norm + 1e-6, "{name} {key}");
            lost += error * error;
        }
        assert!((converted.total().error - f64::sqrt(lost)).abs() < 1e-4, "{name}");
    }
}

#[test]
fn what_has_the_algorithm_already_keeps_its_bits_and_its_rank() {
    let how = How { to: Dialect::Kohya, bake: Some(("lora", Budget::Rank(64))), base: None };
    let converted = how.run(&case("lora")).unwrap();
    let original = Checkpoint::open(case("lora")).unwrap();
    for key in original.names() {
        let renamed = key.replacen("lycoris_", "lora_unet_", 1);
        converted.file.tensors[&renamed].assert_eq(&original.read(key).unwrap(), true);
    }
    assert_eq!(converted.total().error, 0.0);
    // A Tucker core has no place in other dialects: another form, the same update.
    let tucker = how.run(&case("lora_tucker")).unwrap();
    assert!(tucker.file.tensors.keys().all(|key| !key.contains("lora_mid")));
    assert!(tucker.total().relative() < 1e-6);
    assert!(tucker.layers.iter().all(|layer| layer.fit.rank <= Some(4)));
}

#[test]
fn peft_s_configuration_comes_with_the_file() {
    let files = Files::new();
    std::fs::create_dir(files.path("peft")).unwrap();
    let how = How { to: Dialect::Peft, bake: None, base: Some(base()) };
    let converted = how.run(&case("lora")).unwrap();
    let path = files.path("peft/adapter_model.safetensors");
    converted.file.write(&path, false).unwrap();
    let before = files.merged(&base(), &case("lora"));
    let before: BTreeMap<_, _> =
        before.names().iter().map(|key| (key.clone(), values(&before, key))).collect();
    let after = files.merged(&base(), &path);
    for (key, w) in before {
        assert!(distance(&values(&after, &key), &w) < 1e-6, "{key}");
    }
}

#[test]
fn peft_s_loha_and_lokr_act_as_before() {
    let files = Files::new();
    std::fs::create_dir(files.path("peft")).unwrap();
    for name in
        ["loha", "loha_tucker", "lokr", "lokr_tucker", "lokr_decompose_both", "lokr_full_matrix"]
    {
        // PEFT has no kernels of one or three dimensions for them.
        let original = Checkpoint::open(case(name)).unwrap();
        let there = original.names().iter().filter(|key| {
            !["lycoris_temporal_conv.", "lycoris_conv_3d."].iter().any(|it| key.starts_with(it))
        });
        let tensors: Vec<_> =
            there.map(|key| (key.as_str(), original.read(key).unwrap())).collect();
        let plain = files.write(name, &tensors);
        let how = How { to: Dialect::Peft, bake: None, base: Some(base()) };
        let converted = how.run(&plain).unwrap_or_else(|error| panic!("{error}"));
        let path = files.path("peft/adapter_model.safetensors");
        converted.file.write(&path, true).unwrap();
        let before = files.merged(&base(), &plain);
        let before: BTreeMap<_, _> =
            before.names().iter().map(|key| (key.clone(), values(&before, key))).collect();
        let after = files.merged(&base(), &path);
        for (key, w) in before {
            assert!(distance(&values(&after, &key), &w) < 1e-6, "{name} {key}");
        }
    }
}

#[test]
fn what_cannot_be_told_or_held_says_what_would_help() {
    let diff = Some(("full", Budget::Energy(1.0)));
    let lora = Some(("lora", Budget::Rank(1)));
    let how = How { to: Dialect::Diffusers, bake: None, base: Some(base()) };
    let message = how.run(&case("loha")).unwrap_err().to_string();
    assert!(message.contains("hada_w1_a cannot be written as diffusers; bake it"), "{message}");
    for (name, to, bake, part) in [
        ("lora", Dialect::Diffusers, None, "its diffusers name is unknown; name the model with"),
        ("loha", Dialect::Kohya, lora, "leave open what layer it is for; name the base"),
        ("lokr", Dialect::Kohya, lora, "leave open what layer it is for; name the base"),
        ("ia3_input", Dialect::Kohya, diff, "the update of ia3 follows from the base weight; name"),
        ("lora_dora_in", Dialect::Kohya, lora, "the update of lora+dora follows from the base"),
        ("tlora_middle", Dialect::Kohya, diff, "--base"),
        ("norm", Dialect::Kohya, lora, "lora has no place for the update of a norm"),
    ] {
        let how = How { to, bake, base: None };
        let message = how.run(&case(name)).unwrap_err().to_string();
        assert!(message.contains(part) && !message.contains('\n'), "{name}: {message}");
        assert!(message.starts_with(&case(name).display().to_string()), "{message}");
    }
    let files = Files::new();
    let other = files.write("other", &[("k.weight", noise(&[2, 2], 1))]);
    let how = How { to: Dialect::Kohya, bake: lora, base: Some(other) };
    let message = how.run(&case("lokr")).unwrap_err().to_string();
    let expected = format!("{}: module \"lycoris_", case("lokr").display());
    assert!(message.starts_with(&expected), "{message}");
    let large = files.write("large", &[("lycoris_a.diff", TensorData::from([[1e6f32]]))]);
    let registry = registry();
    let choice = Choice::named(&registry, "full").unwrap();
    let bake = Bake { choice, budget: Budget::Energy(1.0), dtype: Some(DType::F16) };
    let convert = Convert {
        registry: &registry,
        to: Dialect::Kohya,
        base: None,
        bake: Some(bake),
        device: Device::flex(),
        compute: DType::F64,
    };
    let message = convert.run(&large, |_, _| ()).unwrap_err().to_string();
    let expected = format!("{}: lycoris_a: its diff does not fit into F16", large.display());
    assert!(message.starts_with(&expected), "{message}");
}
