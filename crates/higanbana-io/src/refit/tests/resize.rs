//! Adapters at a smaller rank.

use super::*;
use crate::{cast, lycoris_name};

fn resize(path: &Path, base: Option<&Path>, budget: Budget) -> Result<Resized, RefitError> {
    let registry = registry();
    let (device, compute) = (Device::flex(), DType::F64);
    Resize { registry: &registry, budget, dtype: None, base, device, compute }.run(path, |_, _| ())
}

fn case(name: &str) -> PathBuf {
    reference(&format!("lycoris/{name}.safetensors"))
}

fn base() -> PathBuf {
    reference("lycoris/base.safetensors")
}

/// The update of every weight of the base that a file adapts.
fn updates(files: &Files, adapter: &Path) -> BTreeMap<String, Tensor<2>> {
    let wide = files.path("wide");
    let original = Checkpoint::open(base()).unwrap();
    let tensors = original.names().iter().map(|key| {
        let data = cast::cast(original.read(key).unwrap(), DType::F64).unwrap();
        (key.clone(), data)
    });
    write_tensors(&wide, &tensors.collect(), &BTreeMap::new(), true).unwrap();
    let merged = files.merged(&wide, adapter);
    let mut updates = BTreeMap::new();
    for key in original.names() {
        let (w, w0) = (merged.read(key).unwrap(), original.read(key).unwrap());
        if distance(&values(&merged, key), &values(&original, key)) > 0.0 {
            updates.insert(key.clone(), matrix(&w) - matrix(&w0));
        }
    }
    updates
}

fn frobenius(matrix: &Tensor<2>) -> f64 {
    tail(matrix, 0)
}

#[test]
fn a_smaller_lora_is_the_truncated_update_whatever_its_form_and_scale() {
    let files = Files::new();
    for name in ["lora", "lora_rs", "lora_scalar"] {
        let resized = resize(&case(name), None, Budget::Rank(2)).unwrap();
        resized.file.write(&files.path("small"), true).unwrap();
        let before = updates(&files, &case(name));
        let after = updates(&files, &files.path("small"));
        let mut lost = 0.0;
        for (key, update) in &before {
            let error = frobenius(&(update.clone() - after[key].clone()));
            let least = tail(update, 2);
            assert!(
                (error - least).abs() < 1e-6 * frobenius(update),
                "{name} {key}: {error} {least}"
            );
            lost += error * error;
        }
        assert!((resized.total().error - f64::sqrt(lost)).abs() < 1e-6);
        assert!(resized.layers.iter().all(|layer| layer.fit.rank == Some(2)));
    }
}

#[test]
fn what_would_grow_without_its_tucker_core_stays_and_is_said() {
    let name = "lora_tucker";
    for budget in [Budget::Energy(0.9), Budget::Rank(2)] {
        let resized = resize(&case(name), None, budget).unwrap();
        let original = Checkpoint::open(case(name)).unwrap();
        assert!(!resized.not_smaller.is_empty(), "{budget:?}");
        for module in &resized.not_smaller {
            let begin = format!("{module}.");
            let tensors = resized.file.tensors.iter().filter(|(key, _)| key.starts_with(&begin));
            tensors.for_each(|(key, data)| data.assert_eq(&original.read(key).unwrap(), true));
        }
    }
}

#[test]
fn a_rank_that_is_not_lowered_keeps_every_bit() {
    for name in ["lora", "loha_tucker", "lokr", "lora_f16"] {
        let resized = resize(&case(name), None, Budget::Rank(4)).unwrap();
        let original = Checkpoint::open(case(name)).unwrap();
        assert_eq!(resized.file.tensors.len(), original.names().len());
        for (key, data) in &resized.file.tensors {
            data.assert_eq(&original.read(key).unwrap(), true);
        }
        assert_eq!(resized.total().error, 0.0, "{name}");
    }
}

#[test]
fn energy_and_type_of_a_file_are_kept() {
    let resized = resize(&case("lora_f16"), None, Budget::Energy(0.9)).unwrap();
    let original = Checkpoint::open(case("lora_f16")).unwrap();
    for layer in &resized.layers {
        assert!(layer.fit.relative().powi(2) < 0.1 + 1e-3);
        let key = format!("{}.lora_up.weight", layer.module);
        assert_eq!(resized.file.tensors[&key].dtype(), original.read(&key).unwrap().dtype());
        if layer.fit.error == 0.0 {
            continue;
        }
        // alpha is the new rank, so that the scale is 1.
        let alpha = &resized.file.tensors[&format!("{}.alpha", layer.module)];
        assert_eq!(alpha.iter::<f64>().next(), layer.fit.rank.map(|rank| rank as f64));
    }
    let most = resized.layers.iter().filter_map(|layer| layer.fit.rank).max().unwrap();
    assert_eq!(resized.file.metadata["ss_network_dim"], most.to_string());
}

#[test]
fn lokr_keeps_the_sizes_of_its_factors() {
    let files = Files::new();
    for name in ["lokr", "lokr_unbalanced", "lokr_tucker", "lokr_scalar"] {
        let resized = resize(&case(name), None, Budget::Rank(1)).unwrap();
        resized.file.write(&files.path("small"), true).unwrap();
        let before = updates(&files, &case(name));
        let after = updates(&files, &files.path("small"));
        let reader = Checkpoint::open(files.path("small")).unwrap();
        for (key, update) in &before {
            let module = lycoris_name(key.strip_suffix(".weight").unwrap());
            let (Ok(w1), Ok(_)) = (
                reader.read(&format!("{module}.lokr_w1")),
                reader.read(&format!("{module}.lokr_w2_a")),
            ) else {
                continue;
            };
            // The singular values of a Kronecker product are the products of the factors'.
            let (w1, [l, m]) = (matrix(&w1), [w1.shape()[0], w1.shape()[1]]);
            let (out, cols) = (update.dims()[0], update.dims()[1]);
            let w2: Vec<f64> = {
                // The block of the largest entry of W1 is W2 times that entry.
                let entries: Vec<f64> = w1.to_data().iter().collect();
                let at = (0..l * m).max_by(|&a, &b| entries[a].abs().total_cmp(&entries[b].abs()));
                let (u, v) = (at.unwrap() / m, at.unwrap() % m);
                let (k, n) = (out / l, cols / m);
                let block = update.clone().slice([u * k..(u + 1) * k, v * n..(v + 1) * n]);
                let scale = entries[u * m + v];
                block.to_data().iter::<f64>().map(|x| x / scale).collect()
            };
            let w2 = matrix(&TensorData::new(w2, [out / l, cols / m]));
            let least = frobenius(&w1) * tail(&w2, 1);
            let error = frobenius(&(update.clone() - after[key].clone()));
            assert!(
                (error - least).abs() < 1e-5 * frobenius(update),
                "{name} {key}: {error} {least}"
            );
        }
    }
}

#[test]
fn lengths_of_dora_stay_and_the_base_is_asked_for() {
    let path = case("lora_dora_out");
    let message = resize(&path, None, Budget::Rank(2)).unwrap_err().to_string();
    assert!(message.contains("the update of lora+dora follows from the base weight"), "{message}");
    assert!(message.ends_with("name the base with --base FILE"), "{message}");
    let resized = resize(&path, Some(&base()), Budget::Rank(2)).unwrap();
    let original = Checkpoint::open(&path).unwrap();
    for layer in &resized.layers {
        assert_eq!((layer.fit.rank, layer.fit.algorithm.as_str()), (Some(2), "lora+dora"));
        assert!(layer.fit.relative() > 0.0 && layer.fit.relative() < 0.8);
        let key = format!("{}.dora_scale", layer.module);
        resized.file.tensors[&key].assert_eq(&original.read(&key).unwrap(), true);
    }
}

#[test]
fn glora_and_loha_are_cut_in_their_own_form() {
    let resized = resize(&case("glora"), Some(&base()), Budget::Rank(2)).unwrap();
    for layer in &resized.layers {
        assert_eq!((layer.fit.rank, layer.fit.algorithm.as_str()), (Some(2), "glora"));
        assert!(layer.fit.relative() < 0.9, "{layer:?}");
    }
    let files = Files::new();
    let resized = resize(&case("loha"), None, Budget::Rank(2)).unwrap();
    let before = updates(&files, &case("loha"));
    for layer in &resized.layers {
        let key = before.keys().find(|key| lycoris_name(key) == format!("{}_weight", layer.module));
        let update = &before[key.unwrap()];
        assert!(layer.fit.error <= tail(update, 2) * (1.0 + 1e-6), "{layer:?}");
    }
}

#[test]
fn tlora_keeps_the_leading_ranks_of_both_of_its_products() {
    // LyCORIS's own file follows from the base; ours has the start in it.
    let path = case("tlora_principal");
    let message = resize(&path, None, Budget::Rank(2)).unwrap_err().to_string();
    assert!(message.contains("the update of tlora follows from the base weight"), "{message}");
    let resized = resize(&path, Some(&base()), Budget::Rank(2)).unwrap();
    assert!(!resized.layers.is_empty());
    let original = Checkpoint::open(&path).unwrap();
    for layer in &resized.layers {
        assert_eq!((layer.fit.rank, layer.fit.algorithm.as_str()), (Some(2), "tlora"));
        assert!(layer.fit.relative() > 0.0 && layer.fit.relative() < 1.0, "{layer:?}");
        for (key, leads) in [("q_layer.weight", true), ("lambda_layer", true), ("alpha", false)] {
            let key = format!("{}.{key}", layer.module);
            let before: Vec<f64> = original.read(&key).unwrap().iter().collect();
            let after: Vec<f64> = resized.file.tensors[&key].iter().collect();
            if leads {
                assert_eq!(after, before[..before.len() / 2], "{key}");
            } else {
                assert!((after[0] - before[0] / 2.0).abs() < 1e-6, "{key}");
            }
        }
    }
}

#[test]
fn what_no_adapter_uses_is_left_over() {
    let files = Files::new();
    let path = files.write(
        "stray",
        &[
            ("lycoris_a.lora_down.weight", noise(&[3, 4], 1)),
            ("lycoris_a.lora_up.weight", noise(&[6, 3], 2)),
            ("lycoris_a.hada_t1", noise(&[2], 3)),
            ("lycoris_a.weft", noise(&[2], 4)),
        ],
    );
    let resized = resize(&path, None, Budget::Rank(1)).unwrap();
    let left: Vec<String> = resized.leftovers.iter().map(ToString::to_string).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].starts_with("lycoris_a.weft: no tensor of a known adapter"), "{left:?}");
    assert_eq!(left[1], "lycoris_a.hada_t1: not used by its adapter");
}

#[test]
fn metadata_are_those_of_the_smaller_file() {
    let files = Files::new();
    let tensors = BTreeMap::from([
        ("lycoris_a.lora_down.weight".to_string(), noise(&[4, 6], 1)),
        ("lycoris_a.lora_up.weight".to_string(), noise(&[6, 4], 2)),
        ("lycoris_a.alpha".to_string(), TensorData::from([2.0f32])),
    ]);
    let said = [
        ("ss_network_dim", "4"),
        ("ss_network_alpha", "2"),
        ("ss_network_args", r#"{"algo":"lora","conv_dim":"4"}"#),
        ("ss_base_model_version", "sd_v1"),
    ];
    let said = said.map(|(key, value)| (key.to_string(), value.to_string()));
    let path = files.path("said");
    write_tensors(&path, &tensors, &BTreeMap::from(said), true).unwrap();
    let expect = |rank: usize, dim: &str, alpha: &str| {
        let about = resize(&path, None, Budget::Rank(rank)).unwrap().file.metadata;
        assert_eq!(
            (about["ss_network_dim"].as_str(), about["ss_network_alpha"].as_str()),
            (dim, alpha)
        );
        assert_eq!(about["ss_network_args"], r#"{"algo":"lora"}"#);
        assert_eq!(about["ss_base_model_version"], "sd_v1");
    };
    expect(2, "2", "2");
    expect(1, "1", "1");
    // What stays as it is keeps its alpha.
    expect(8, "4", "2");
}

#[test]
fn dialects_and_modules_without_a_rank_stay() {
    let files = Files::new();
    let up = noise(&[6, 3], 1);
    let down = noise(&[3, 4], 2);
    let path = files.write(
        "diffusers",
        &[
            ("unet.mid_block.a.lora_A.weight", down.clone()),
            ("unet.mid_block.a.lora_B.weight", up.clone()),
        ],
    );
    let resized = resize(&path, None, Budget::Rank(1)).unwrap();
    let keys: Vec<_> = resized.file.tensors.keys().map(String::as_str).collect();
    assert_eq!(keys, ["unet.mid_block.a.lora_A.weight", "unet.mid_block.a.lora_B.weight"]);

    let path = files.write(
        "mixed",
        &[
            ("lora_unet_a.lora_down.weight", down),
            ("lora_unet_a.lora_up.weight", up),
            ("lora_unet_n.w_norm", noise(&[4], 3)),
        ],
    );
    let resized = resize(&path, None, Budget::Rank(1)).unwrap();
    assert_eq!(resized.kept, ["lora_unet_n"]);
    let keys: Vec<_> = resized.file.tensors.keys().map(String::as_str).collect();
    let expected = ["alpha", "lora_down.weight", "lora_up.weight"];
    let expected = expected.map(|key| format!("lora_unet_a.{key}"));
    assert_eq!(keys[..3], expected);
    resized.file.tensors["lora_unet_n.w_norm"].assert_eq(&noise(&[4], 3), true);
}

#[test]
fn what_has_no_rank_or_no_smaller_form_is_refused() {
    for (name, with_base, part) in [
        ("full", false, "none of its modules has a rank"),
        ("boft", true, "none of its modules has a rank"),
        ("glora", false, "name the base with --base FILE"),
    ] {
        let base = base();
        let base = with_base.then_some(base.as_path());
        let message = resize(&case(name), base, Budget::Rank(1)).unwrap_err().to_string();
        assert!(message.contains(part), "{name}: {message}");
        assert!(message.contains(&format!("{name}.safetensors")), "{message}");
    }
}

#[test]
fn a_file_that_says_dylora_is_cut_to_a_prefix() {
    let files = Files::new();
    let original = Checkpoint::open(case("dylora")).unwrap();
    let tensors = original.names().iter().map(|key| (key.clone(), original.read(key).unwrap()));
    let about = BTreeMap::from([("ss_network_args".into(), r#"{"algo": "DyLoRA"}"#.into())]);
    write_tensors(&files.path("said"), &tensors.collect(), &about, false).unwrap();
    let resized = resize(&files.path("said"), None, Budget::Rank(2)).unwrap();
    assert!(resized.layers.iter().all(|layer| layer.fit.algorithm == "dylora"));
    let small = &resized.file.tensors;
    for (key, data) in small.iter().filter(|(key, _)| key.ends_with("lora_down.weight")) {
        // The first two of six rows, to the bit, at the same alpha / r.
        let whole: Vec<f64> = original.read(key).unwrap().iter().collect();
        assert_eq!(data.iter::<f64>().collect::<Vec<_>>(), whole[..whole.len() / 3], "{key}");
        let alpha = key.replace("lora_down.weight", "alpha");
        let number = |data: &TensorData| data.iter::<f64>().next().unwrap();
        let expected = number(&original.read(&alpha).unwrap()) / 3.0;
        assert!((number(&small[&alpha]) - expected).abs() < 1e-6, "{alpha}");
    }
    assert_eq!(resized.file.metadata["ss_network_args"], r#"{"algo":"dylora"}"#);
    // Unsaid, it is a LoRA, whose best approximation is none of its prefixes.
    let plain = resize(&case("dylora"), None, Budget::Rank(2)).unwrap();
    assert!(plain.layers.iter().all(|layer| layer.fit.algorithm == "lora"));
    assert!(plain.total().error < resized.total().error);
}
