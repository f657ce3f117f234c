use burn::tensor::TensorData;
use half::f16;

use super::lycoris::{adapter, manifest, reference};
use super::*;

fn adapters(path: &Path, base: Option<&Path>) -> Adapters {
    match inspect(path, base, &registry(), &Device::flex(), |_, _| ()).unwrap() {
        Inspection::Adapter(adapters) => *adapters,
        _ => panic!("{} is an adapter", path.display()),
    }
}

/// `weight@1 − weight` of LyCORIS.
fn reference_norm(case: &str, key: &str) -> f64 {
    let base = Checkpoint::open(reference("base.safetensors")).unwrap();
    let expected = Checkpoint::open(reference(&format!("{case}.expected.safetensors"))).unwrap();
    let (w0, w) = (values(&base, key), values(&expected, &format!("{key}@1")));
    w.iter().zip(w0).map(|(w, w0)| (w - w0).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn norms_are_those_of_lycoris_s_updates() {
    let (files, base) = (Files::new(), reference("base.safetensors"));
    for case in manifest() {
        let (name, path) = (case["case"].as_str().unwrap(), adapter(&files, &case));
        let with_base = adapters(&path, Some(&base));
        assert_eq!(with_base.leftovers, [], "{name}");
        for row in &with_base.adapters {
            let expected = reference_norm(name, row.key.as_ref().unwrap());
            let norm = row.norm.unwrap();
            assert!((norm - expected).abs() <= 1e-5 * expected, "{name}: {norm} {expected}");
        }
        // Without the base: the same, or none; and no other number.
        let alone = adapters(&path, None);
        assert_eq!(alone.leftovers, [], "{name}");
        assert_eq!(alone.adapters.len(), with_base.adapters.len(), "{name}");
        for (row, with_base) in alone.adapters.iter().zip(&with_base.adapters) {
            let needs_base = registry().get(row.algorithm).unwrap().needs_base();
            let from_the_base = needs_base || name == "tlora_principal";
            match row.norm {
                None => assert!(from_the_base, "{name}"),
                Some(norm) => {
                    let expected = with_base.norm.unwrap();
                    assert!((norm - expected).abs() <= 1e-6 * expected, "{name}");
                }
            }
            // What the file leaves open is all that may differ; a kernel may be unfolded.
            let [shape, there] = [&row.shape, &with_base.shape].map(|it| it.clone().unwrap());
            if shape.contains(&None) {
                let known = shape.iter().zip(&there).filter(|(size, _)| size.is_some());
                assert!(known.clone().all(|(size, there)| size == there), "{name}: {shape:?}");
                assert_eq!(known.count(), 1, "{name}: {shape:?}");
            } else {
                let size = |shape: &[Option<usize>]| shape.iter().flatten().product::<usize>();
                assert_eq!(size(&shape), size(&there), "{name} {}", row.module);
                assert!(row.unfolded || shape == there, "{name} {}: {shape:?}", row.module);
            }
            let facts = |row: &AdapterRow| (row.algorithm, row.rank, row.parameters, row.parameter);
            assert_eq!(facts(row), facts(with_base), "{name} {}", row.module);
        }
    }
}

#[test]
fn a_key_that_no_adapter_uses_is_named_with_a_base_and_without() {
    let (files, base) = (Files::new(), reference("base.safetensors"));
    for case in manifest() {
        let name = case["case"].as_str().unwrap();
        // T-LoRA's as LyCORIS saves them too, whose start follows from the base.
        for path in [adapter(&files, &case), reference(&format!("{name}.safetensors"))] {
            let file = Checkpoint::open(&path).unwrap();
            let mut tensors: BTreeMap<_, _> =
                file.names().iter().map(|key| (key.clone(), file.read(key).unwrap())).collect();
            let (module, _) = file.names()[0].split_once('.').unwrap();
            // A stem of another algorithm, which yields to each of them.
            let stray = if name.starts_with("loha") { "lora_mid.weight" } else { "hada_t1" };
            let stray = format!("{module}.{stray}");
            tensors.insert(stray.clone(), TensorData::from([[1.0f32]]));
            let path = files.path("stray");
            write_tensors(&path, &tensors, &BTreeMap::new(), true).unwrap();
            let expected = format!("{stray}: not used by its adapter");
            for base in [None, Some(&*base)] {
                let left = adapters(&path, base).leftovers;
                let left: Vec<String> = left.iter().map(Leftover::to_string).collect();
                assert_eq!(left, [&*expected], "{name}");
            }
            let (left, _) = files.merge(&base, &[(&path, 1.0)], DType::F32).unwrap();
            assert_eq!(left[0].to_string(), expected, "{name}");
        }
    }
}

#[test]
fn ranks_are_those_that_the_files_were_made_with() {
    let files = Files::new();
    for case in manifest() {
        let options = &case["options"];
        let rows = adapters(&adapter(&files, &case), None).adapters;
        for row in rows.iter().filter(|row| row.rank.is_some()) {
            let dims = ["linear_dim", "conv_dim"].map(|dim| options[dim].as_u64());
            assert!(dims.contains(&row.rank.map(|rank| rank as u64)), "{} {row:?}", case["case"]);
        }
        let has_rank = rows.iter().any(|row| row.rank.is_some());
        let ranked = ["lora", "loha", "lora+dora", "loha+dora", "glora", "dylora", "tlora"];
        assert!(has_rank || !ranked.contains(&case["algorithm"].as_str().unwrap()));
    }
}

#[test]
fn a_module_is_described() {
    let files = Files::new();
    let path = files.write(
        "a",
        &[
            // Up and down, 3·4 and 4·5: ‖[1, 2, 2]‖ ‖[0, 3, 4, 0]‖ alpha/rank = 3·5·2/1.
            ("lora_unet_a.lora_up.weight", TensorData::from([[1.0f32], [2.0], [2.0]])),
            ("lora_unet_a.lora_down.weight", TensorData::from([[0.0f32, 3.0, 4.0, 0.0]])),
            ("lora_unet_a.alpha", TensorData::from([f16::from_f32(2.0)])),
            ("lora_unet_b.diff_b", TensorData::from([3.0f32, 4.0])),
        ],
    );
    let adapters = adapters(&path, None);
    assert_eq!((adapters.dialect, adapters.modules, adapters.parameters), ("kohya", 2, 3 + 4 + 2));
    assert_eq!(adapters.norm, Some((30.0f64.powi(2) + 25.0).sqrt()));
    assert_eq!(adapters.metadata["of"], "a");
    let [a, b] = &adapters.adapters[..] else { panic!("{adapters:?}") };
    assert_eq!((a.algorithm, a.parameter, &*a.dtype), ("lora", "weight", "F16+F32"));
    assert_eq!(
        (a.shape.clone(), a.rank, a.alpha),
        (Some(vec![Some(3), Some(4)]), Some(1), Some(2.0))
    );
    assert_eq!((b.algorithm, b.parameter, b.norm), ("full", "bias", Some(5.0)));
}

#[test]
fn what_does_not_fit_the_base_is_left_over_and_still_described() {
    let files = Files::new();
    let diff = || TensorData::from([[3.0f32, 4.0]]);
    let base = files.write("base", &[("here.weight", diff())]);
    let path = files.write("a", &[("lycoris_here.diff", diff()), ("lycoris_there.diff", diff())]);
    let adapters = adapters(&path, Some(&base));
    assert_eq!(adapters.leftovers.len(), 1);
    assert!(adapters.leftovers[0].to_string().starts_with("lycoris_there: not in the base"));
    let keys: Vec<_> = adapters.adapters.iter().map(|row| row.key.as_deref()).collect();
    assert_eq!(keys, [Some("here.weight"), None]);
    assert!(adapters.adapters.iter().all(|row| row.norm == Some(5.0)));
}

#[test]
fn a_checkpoint_is_described() {
    let files = Files::new();
    let text = "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight";
    let path = files.write(
        "model",
        &[(text, TensorData::zeros::<f16, _>([4, 2])), ("steps", TensorData::from([7i64]))],
    );
    let Inspection::Checkpoint(contents) =
        inspect(&path, None, &registry(), &Device::flex(), |_, _| ()).unwrap()
    else {
        panic!("no adapter is in it")
    };
    assert_eq!((contents.tensors, contents.parameters), (2, 9));
    assert_eq!((contents.family, &contents.models[..]), (None, &["text_encoder"][..]));
    assert_eq!(contents.dtypes["F16"], Count { tensors: 1, parameters: 8 });
}

#[test]
fn published_families_are_known() {
    let files = Files::new();
    let shape = |name: &str, text: usize| {
        if name.ends_with("attn2.to_k") { vec![1, text] } else { vec![1] }
    };
    for (architecture, text, family) in [
        (crate::names::Architecture::Sd, 768, "Stable Diffusion 1"),
        (crate::names::Architecture::Sd, 1024, "Stable Diffusion 2"),
        (crate::names::Architecture::Sdxl, 2048, "Stable Diffusion XL"),
    ] {
        let names = architecture.unet_modules().map(|(name, _)| name);
        let keys: Vec<(String, TensorData)> = names
            .map(|name| (format!("{name}.weight"), TensorData::zeros::<f16, _>(shape(name, text))))
            .collect();
        let keys: Vec<_> = keys.iter().map(|(key, data)| (key.as_str(), data.clone())).collect();
        let contents =
            Contents::of(&Checkpoint::open(files.write("unet", &keys)).unwrap(), String::new());
        assert_eq!((contents.family, &contents.models[..]), (Some(family), &["unet"][..]));
    }
}

#[test]
fn tensors_that_contradict_each_other_are_an_error() {
    let files = Files::new();
    let zeros = |shape: [usize; 2]| TensorData::zeros::<f32, _>(shape);
    let path = files
        .write("a", &[("l.lora_up.weight", zeros([2, 3])), ("l.lora_down.weight", zeros([4, 2]))]);
    let error = inspect(&path, None, &registry(), &Device::flex(), |_, _| ()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("a: l.lora_up.weight: shape [2, 3] does not fit, expected [2, 4]"));
}
