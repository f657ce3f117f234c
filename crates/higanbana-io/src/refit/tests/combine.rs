//! Adapters added up.

use super::*;
use crate::{
    AdapterReader,
    dialect::Tensors,
    names::{Joint, PEFT, PREFIXES, Prefix},
    testing::relative,
};

fn case(name: &str) -> PathBuf {
    reference(&format!("lycoris/{name}.safetensors"))
}

fn source(path: impl Into<PathBuf>, strength: f64) -> Source {
    Source { path: path.into(), strength: strength.into() }
}

fn combine(
    sources: &[Source],
    budget: Option<Budget>,
    base: Option<&Path>,
) -> Result<Combined, RefitError> {
    let registry = registry();
    let (device, compute) = (Device::flex(), DType::F64);
    Combine { registry: &registry, budget, dtype: None, base, device, compute }
        .run(sources, |_, _| ())
}

/// The weights of a base with adapters merged in f64.
fn merged(files: &Files, base: &Path, sources: &[Source]) -> BTreeMap<String, Vec<f64>> {
    let registry = registry();
    let merge = Merge::plan(base, sources, &registry, &Device::flex(), DType::F64).unwrap();
    merge.write(&files.path("merged"), true, |_| ()).unwrap();
    let file = Checkpoint::open(files.path("merged")).unwrap();
    file.names().iter().map(|key| (key.clone(), values(&file, key))).collect()
}

/// Zeros of the shapes of these tensors, in f64, so that what is merged is not rounded.
fn zeros(files: &Files, like: &Checkpoint) -> PathBuf {
    let zero = |key: &String| {
        let shape = like.info(key).unwrap().shape.clone();
        (key.clone(), TensorData::zeros::<f64, _>(shape))
    };
    let tensors = like.names().iter().map(zero).collect();
    write_tensors(&files.path("zeros"), &tensors, &BTreeMap::new(), true).unwrap();
    files.path("zeros")
}

#[test]
fn the_sum_is_that_of_peft() {
    let files = Files::new();
    let file = |name: &str| reference(&format!("combined/{name}/adapter_model.safetensors"));
    let expected = Checkpoint::open(reference("combined/expected.safetensors")).unwrap();
    let sources = [source(file("first"), 0.8), source(file("second"), -0.5)];
    let combined = combine(&sources, None, None).unwrap();
    let ranks: Vec<_> = combined.layers.iter().map(|layer| layer.fit.rank).collect();
    assert_eq!(ranks, [Some(5), Some(5), Some(3)]);
    assert!(combined.total().relative() < 1e-6);
    combined.file.write(&files.path("adapter_model.safetensors"), false).unwrap();
    let sum = [source(files.path("adapter_model.safetensors"), 1.0)];
    let merged = merged(&files, &zeros(&files, &expected), &sum);
    assert_eq!(merged.len(), 3);
    for (key, values) in merged {
        let off = relative(&values, &expected.read(&key).unwrap().iter().collect::<Vec<f64>>());
        assert!(off < 1e-6, "{key}: {off}");
    }
}

#[test]
fn a_sum_merges_as_its_terms_do() {
    let files = Files::new();
    let base = Checkpoint::open(reference("lycoris/base.safetensors")).unwrap();
    let zeros = zeros(&files, &base);
    for (names, tolerance) in [
        // Cores on convolutions, half precision, scales of their own, biases.
        (["lora", "lora_tucker"], 1e-6),
        (["lora_tucker", "lora_tucker"], 1e-6),
        (["lora_rs", "lora_scalar"], 1e-6),
        (["lora_f16", "lora_bf16"], 1e-6),
        (["lora_f16", "lora_f16"], 1e-3),
        (["full", "full"], 1e-6),
        (["norm", "lora"], 1e-6),
    ] {
        let sources = [source(case(names[0]), 0.7), source(case(names[1]), -1.3)];
        let combined = combine(&sources, None, None).unwrap();
        combined.file.write(&files.path("sum"), true).unwrap();
        assert!(combined.total().relative() < tolerance, "{names:?}");
        let together = merged(&files, &zeros, &sources);
        let sum = merged(&files, &zeros, &[source(files.path("sum"), 1.0)]);
        let mut changed = 0;
        for (key, expected) in &together {
            if expected.iter().any(|value| *value != 0.0) {
                let off = relative(&sum[key], expected);
                assert!(off < tolerance, "{names:?} {key}: {off}");
                changed += 1;
            } else {
                assert_eq!(&sum[key], expected, "{names:?} {key}");
            }
        }
        assert!(changed > 2, "{names:?}");
    }
}

/// A file of one module, of rank 2 with alpha 1.
fn small(files: &Files, name: &str, module: &str, seed: u64) -> PathBuf {
    let key = |suffix: &str| format!("{module}.{suffix}");
    let alpha = TensorData::new(vec![1.0f32], [0usize; 0]);
    let tensors = [
        (key("lora_down.weight"), noise(&[2, 5], seed)),
        (key("lora_up.weight"), noise(&[4, 2], seed + 1)),
        (key("alpha"), alpha),
    ];
    let tensors: Vec<_> = tensors.iter().map(|(key, data)| (key.as_str(), data.clone())).collect();
    files.write(name, &tensors)
}

#[test]
fn factors_of_equal_scales_stand_side_by_side_to_the_bit() {
    let files = Files::new();
    let paths = [small(&files, "a", "lycoris_l", 1), small(&files, "b", "lycoris_l", 5)];
    let combined = combine(&paths.clone().map(|path| source(path, 0.5)), None, None).unwrap();
    let read = |path: &Path, key: &str| values(&Checkpoint::open(path).unwrap(), key);
    let of = |key: &str| combined.file.tensors[key].iter::<f64>().collect::<Vec<_>>();
    let [a, b] = paths.each_ref().map(|path| read(path, "lycoris_l.lora_down.weight"));
    assert_eq!(of("lycoris_l.lora_down.weight"), [a, b].concat());
    let [a, b] = paths.each_ref().map(|path| read(path, "lycoris_l.lora_up.weight"));
    let rows = a.chunks(2).zip(b.chunks(2)).flat_map(|(a, b)| [a, b].concat());
    assert_eq!(of("lycoris_l.lora_up.weight"), rows.collect::<Vec<_>>());
    // 0.5 · 1/2 of rank 4.
    assert_eq!(of("lycoris_l.alpha"), [1.0]);
    assert_eq!(combined.file.metadata["ss_network_dim"], "4");
    // They do not agree in it.
    assert!(!combined.file.metadata.contains_key("of"));
}

#[test]
fn one_layer_under_two_names_is_one_sum() {
    let files = Files::new();
    let [diffusers, ldm] = ["down_blocks_0_attentions_0", "input_blocks_1_1"]
        .map(|block| format!("lora_unet_{block}_transformer_blocks_0_attn1_to_q"));
    let sources =
        [source(small(&files, "a", &diffusers, 1), 1.0), source(small(&files, "b", &ldm, 5), 2.0)];
    let combined = combine(&sources, None, None).unwrap();
    let modules: Vec<_> = combined.layers.iter().map(|layer| &layer.module).collect();
    assert_eq!(modules, [&diffusers]);
    assert_eq!(combined.layers[0].fit.rank, Some(4));
}

/// Keys of a low-rank pair, and perhaps its alpha, as programs spell them.
const SPELLINGS: [[&str; 3]; 3] = [
    ["lora_up.weight", "lora_down.weight", "alpha"],
    ["lora_B.weight", "lora_A.weight", ""],
    ["lora.up.weight", "lora.down.weight", ""],
];

/// A file of one module of rank 2 in this spelling, and its update at alpha 1 or 2.
fn spelled(
    files: &Files,
    name: &str,
    module: &str,
    keys: [&str; 3],
    seed: u64,
) -> (PathBuf, Vec<f64>) {
    let [up, down] = [noise(&[4, 2], seed + 1), noise(&[2, 5], seed)];
    let alpha = if keys[2].is_empty() { 2.0 } else { 1.0 };
    let [b, a]: [Vec<f64>; 2] = [&up, &down].map(|it| it.iter().collect());
    let of = |i: usize| (b[i / 5 * 2] * a[i % 5] + b[i / 5 * 2 + 1] * a[5 + i % 5]) * alpha / 2.0;
    let tensors = [up, down, TensorData::new(vec![alpha as f32], [0usize; 0])];
    let tensors = keys.into_iter().zip(tensors).filter(|(key, _)| !key.is_empty());
    let tensors: Vec<_> = tensors.map(|(key, data)| (format!("{module}.{key}"), data)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(key, data)| (&**key, data.clone())).collect();
    (files.write(name, &tensors), (0..20).map(of).collect())
}

/// Under every prefix that programs have: a sum has the names of its terms, and their sum is its update.
#[test]
fn names_stay_under_every_prefix_and_in_every_spelling() {
    for Prefix { text, joint, .. } in PREFIXES {
        for keys in SPELLINGS {
            // Apart, as PEFT's configuration is of all files in its folder.
            let (files, out) = (Files::new(), Files::new());
            if *text == PEFT && !keys[2].is_empty() {
                continue; // PEFT's alpha is in its configuration.
            }
            let name = |path: &str| match joint {
                Joint::Dot => format!("{text}{path}"),
                Joint::Underscore => format!("{text}{}", path.replace('.', "_")),
            };
            let [both, alone] = ["blocks.0.attn.proj", "blocks.1.attn.proj"].map(name);
            let (first, a) = spelled(&files, "first", &both, keys, 1);
            let (second, b) = spelled(&files, "second", &both, keys, 5);
            // A layer of the second file alone.
            let (third, c) = spelled(&files, "third", &alone, keys, 9);
            let sources = [source(first, 1.0), source(second, -0.5), source(third, 1.0)];
            let combined = combine(&sources, None, None).unwrap();
            let known: Vec<_> = [&both, &alone]
                .into_iter()
                .flat_map(|it| keys.map(|key| (key, format!("{it}.{key}"))))
                .filter(|(key, _)| !key.is_empty())
                .map(|(_, key)| key)
                .collect();
            for key in &known {
                assert!(combined.file.tensors.contains_key(key), "{key}");
            }
            // LyCORIS cannot read a flattened name without its alpha.
            let is_flat = *joint == Joint::Underscore;
            let added = if is_flat && keys[2].is_empty() { 2 } else { 0 };
            assert_eq!(combined.file.tensors.len(), known.len() + added, "{known:?}");
            let path = out.path("adapter_model.safetensors");
            combined.file.write(&path, false).unwrap();
            let reader = AdapterReader::open(&path, &registry()).unwrap();
            let sum: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - 0.5 * b).collect();
            for (module, expected) in [(&both, sum), (&alone, c)] {
                let off = relative(&update(&reader.read(module).unwrap()), &expected);
                assert!(off < 1e-6, "{module} in {keys:?}: {off}");
            }
        }
    }
}

/// alpha / r B A.
fn update(tensors: &Tensors) -> Vec<f64> {
    let [up, down] = ["lora_up.weight", "lora_down.weight"].map(|key| matrix(&tensors[key]));
    let rank = down.dims()[0] as f64;
    let alpha = tensors.get("alpha").map_or(rank, |it| it.iter::<f64>().next().unwrap());
    let product = up.matmul(down).mul_scalar(alpha / rank);
    product.into_data().iter().collect()
}

#[test]
fn a_sum_is_cut_to_its_best_approximation() {
    let files = Files::new();
    let sources = [
        source(small(&files, "a", "lycoris_l", 1), 0.9),
        source(small(&files, "b", "lycoris_l", 5), 1.1),
    ];
    let base = files.write("base", &[("l.weight", TensorData::zeros::<f64, _>([4, 5]))]);
    let whole = merged(&files, &base, &sources);
    let update = matrix(&TensorData::new(whole["l.weight"].clone(), [4, 5]));
    for rank in [1, 2, 3] {
        let combined = combine(&sources, Some(Budget::Rank(rank)), None).unwrap();
        let fit = &combined.layers[0].fit;
        assert_eq!(fit.rank, Some(rank));
        assert!((fit.error - tail(&update, rank)).abs() < 1e-6, "{rank}: {}", fit.error);
    }
}

#[test]
fn what_has_no_sum_is_refused_in_one_line() {
    let files = Files::new();
    let one = small(&files, "a", "lycoris_lin", 1);
    let dotted = files.write(
        "dotted",
        &[
            ("unet.mid_block.a.lora_A.weight", noise(&[3, 4], 1)),
            ("unet.mid_block.a.lora_B.weight", noise(&[6, 3], 2)),
        ],
    );
    let base = reference("lycoris/base.safetensors");
    for (second, base, expected) in [
        (case("lora_dora_out"), Some(base.as_path()), "lora+dora cannot be added up; turn it into"),
        (case("loha"), None, "loha cannot be added up"),
        (dotted, None, "is in the dialect diffusers, and "),
        (case("lora"), None, "is for a layer of shape [24, 20], and of [4, 5] in "),
        (case("full"), None, "is full, and lora in "),
    ] {
        let sources = match expected.contains("cannot be added") {
            true => vec![source(&second, 1.0)],
            false => vec![source(&one, 1.0), source(&second, 1.0)],
        };
        let error = combine(&sources, None, base).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        assert!(error.starts_with(&second.display().to_string()), "{error}");
    }
}
