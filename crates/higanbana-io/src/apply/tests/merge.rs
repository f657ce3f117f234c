use burn::tensor::TensorData;
use half::f16;

use super::*;

const F32: DType = DType::F32;

/// A linear layer `l` with a bias, and a norm: 2 x 2.
fn base(files: &Files) -> PathBuf {
    files.write(
        "base",
        &[
            ("l.weight", TensorData::from([[1.0f32, 2.0], [3.0, 4.0]])),
            ("l.bias", TensorData::from([5.0f32, 6.0])),
            ("norm.weight", TensorData::from([7.0f32, 8.0])),
            ("other", TensorData::from([9i64])),
        ],
    )
}

/// B A = [[1], [2]] [[10, 20]], scaled by alpha / rank = 1/2: [[5, 10], [10, 20]].
fn low_rank(files: &Files, name: &str) -> PathBuf {
    files.write(
        name,
        &[
            ("lycoris_l.lora_up.weight", TensorData::from([[1.0f32], [2.0]])),
            ("lycoris_l.lora_down.weight", TensorData::from([[10.0f32, 20.0]])),
            ("lycoris_l.alpha", TensorData::from([0.5f32])),
        ],
    )
}

fn difference(files: &Files) -> PathBuf {
    files.write(
        "difference",
        &[
            ("lycoris_l.diff", TensorData::from([[100.0f32, 0.0], [0.0, 100.0]])),
            ("lycoris_l.diff_b", TensorData::from([1.0f32, -1.0])),
            ("lycoris_norm.w_norm", TensorData::from([0.5f32, 0.25])),
        ],
    )
}

#[test]
fn updates_are_scaled_and_added_to_the_base() {
    let files = Files::new();
    let (base, lora, full) = (base(&files), low_rank(&files, "a"), difference(&files));
    let (left, merged) = files.merge(&base, &[(&lora, 2.0), (&full, -0.5)], F32).unwrap();
    assert_eq!(left, []);
    assert_eq!(values(&merged, "l.weight"), [1.0 + 10.0 - 50.0, 22.0, 23.0, 4.0 + 40.0 - 50.0]);
    assert_eq!(values(&merged, "l.bias"), [4.5, 6.5]);
    assert_eq!(values(&merged, "norm.weight"), [6.75, 7.875]);
    assert_eq!(values(&merged, "other"), [9.0]);
    let (_, swapped) = files.merge(&base, &[(&full, -0.5), (&lora, 2.0)], F32).unwrap();
    assert_eq!(values(&merged, "l.weight"), values(&swapped, "l.weight"));
}

#[test]
fn one_file_may_be_named_twice() {
    let files = Files::new();
    let (base, lora) = (base(&files), low_rank(&files, "a"));
    let (_, merged) = files.merge(&base, &[(&lora, 1.0), (&lora, -3.0)], F32).unwrap();
    assert_eq!(values(&merged, "l.weight"), [-9.0, -18.0, -17.0, -36.0]);
}

#[test]
fn strength_zero_gives_the_base() {
    let files = Files::new();
    let (base, full) = (base(&files), difference(&files));
    let (_, merged) = files.merge(&base, &[(&full, 0.0)], F32).unwrap();
    assert_eq!(std::fs::read(merged.path()).unwrap(), std::fs::read(base).unwrap());
}

#[test]
fn weights_keep_the_base_s_dtype_and_round_once() {
    let files = Files::new();
    let half = |x: f32| f16::from_f32(x);
    let base = files.write(
        "base",
        &[
            ("l.weight", TensorData::from([[half(1.0), half(1000.0)]])),
            ("m.weight", TensorData::from([[1.0f64, 1000.0]])),
        ],
    );
    // Steps of f16 are 2^-10 at 1 and 1/2 at 1000.
    let diff = TensorData::from([[2f32.powi(-11) + 2f32.powi(-20), 0.1]]);
    let adapter =
        files.write("a", &[("lycoris_l.diff", diff.clone()), ("lycoris_m.diff", diff.clone())]);
    for dtype in [DType::F32, DType::F64] {
        let (_, merged) = files.merge(&base, &[(&adapter, 1.0)], dtype).unwrap();
        assert_eq!(merged.info("l.weight").unwrap().dtype, crate::Dtype::F16);
        assert_eq!(values(&merged, "l.weight"), [1.0 + 2f64.powi(-10), 1000.0]);
        let exact = 1000.0 + f64::from(0.1f32);
        let sum = if dtype == DType::F64 { exact } else { f64::from(exact as f32) };
        assert_eq!(values(&merged, "m.weight")[1], sum);
    }
}

#[test]
fn a_fused_weight_is_adapted_in_its_own_rows() {
    let files = Files::new();
    let attention = "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj";
    let (weight, bias) = (format!("{attention}_weight"), format!("{attention}_bias"));
    let base = files.write(
        "base",
        &[
            (&weight, TensorData::zeros::<f32, _>([6, 2])),
            (&bias, TensorData::zeros::<f32, _>([6])),
        ],
    );
    let module = "lora_te2_text_model_encoder_layers_0_self_attn";
    let keys = ["k_proj.diff", "k_proj.diff_b", "v_proj.diff"].map(|key| format!("{module}_{key}"));
    let ones = TensorData::ones::<f32, _>([2, 2]);
    let adapter = files.write(
        "a",
        &[(&keys[0], ones.clone()), (&keys[1], TensorData::from([3.0f32, 4.0])), (&keys[2], ones)],
    );
    let (left, merged) = files.merge(&base, &[(&adapter, 2.0)], F32).unwrap();
    assert_eq!(left, []);
    let rows = |rows: [f64; 6]| rows.iter().flat_map(|&x| [x, x]).collect::<Vec<_>>();
    assert_eq!(values(&merged, &weight), rows([0.0, 0.0, 2.0, 2.0, 2.0, 2.0]));
    assert_eq!(values(&merged, &bias), [0.0, 0.0, 6.0, 8.0, 0.0, 0.0]);
}

#[test]
fn what_has_no_place_is_left_over_and_named() {
    let files = Files::new();
    let adapter = files.write(
        "a",
        &[
            ("lycoris_l.diff", TensorData::zeros::<f32, _>([2, 2])),
            ("lycoris_l.w_norm", TensorData::ones::<f32, _>([2])),
            ("lycoris_m.diff", TensorData::zeros::<f32, _>([2, 2])),
            ("lycoris_norm.on_input", TensorData::zeros::<f32, _>([2])),
            ("lycoris_l.unheard_of", TensorData::zeros::<f32, _>([2])),
        ],
    );
    let (left, _) = files.merge(&base(&files), &[(&adapter, 1.0)], F32).unwrap();
    let lines: Vec<String> = left.iter().map(Leftover::to_string).collect();
    let begins = [
        "lycoris_m: not in the base; nearest: ",
        "lycoris_norm: no algorithm adapts \"norm.weight\" with on_input",
        "lycoris_l.unheard_of: no tensor of a known adapter",
        "lycoris_l.w_norm: not used by its adapter",
    ];
    assert_eq!(lines.len(), begins.len(), "{lines:#?}");
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
}

/// The message of a merge that must fail and leave nothing.
fn refusal(files: &Files, base: &Path, adapter: &Path, strength: f64) -> String {
    let error = files.merge(base, &[(adapter, strength)], F32).unwrap_err();
    assert!(!files.path("merged").exists());
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    message.replace(files.path("").display().to_string().trim_end_matches('/'), "")
}

#[test]
fn a_file_for_another_model_is_refused() {
    let files = Files::new();
    let key = "lycoris_blocks_0_attn.diff";
    let adapter = files.write("a", &[(key, TensorData::zeros::<f32, _>([2, 2]))]);
    let message = refusal(&files, &base(&files), &adapter, 1.0);
    assert!(message.starts_with("/a: its only module does not fit /base"), "{message}");
    assert!(message.contains("lycoris_blocks_0_attn: not in the base; nearest: "), "{message}");
}

#[test]
fn shapes_that_contradict_the_base_are_refused() {
    let files = Files::new();
    let adapter = files.write("a", &[("lycoris_l.diff", TensorData::zeros::<f32, _>([2, 3]))]);
    let message = refusal(&files, &base(&files), &adapter, 1.0);
    assert_eq!(
        message,
        "/a: lycoris_l.diff: shape [2, 3] does not fit, expected [2, 2]; \
         the file is damaged or made for another model; --leave-out lycoris_l goes on without it"
    );
    let up = TensorData::zeros::<f32, _>([2, 1]);
    let adapter = files.write("a", &[("lycoris_l.lora_up.weight", up)]);
    let message = refusal(&files, &base(&files), &adapter, 1.0);
    assert!(
        message.starts_with("/a: lycoris_l: tensor `lora_down.weight` is missing; "),
        "{message}"
    );
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let files = Files::new();
    let adapter =
        files.write("a", &[("lycoris_l.diff", TensorData::from([[0.0, f32::NAN], [0.0, 0.0]]))]);
    let message = refusal(&files, &base(&files), &adapter, 1.0);
    assert!(
        message.starts_with("/a: tensor \"lycoris_l.diff\" is NaN at element 1; "),
        "{message}"
    );
    let damaged = |x: f32| ("l.weight", TensorData::from([[x, 0.0]]));
    let base = files
        .write("base", &[damaged(f32::INFINITY), ("m.weight", TensorData::from([[f32::NAN]]))]);
    let adapter = files.write("a", &[("lycoris_l.diff", TensorData::from([[0.0f32, 1.0]]))]);
    let message = refusal(&files, &base, &adapter, 1.0);
    assert!(message.starts_with("/base: tensor \"l.weight\" is inf at element 0; "), "{message}");
    // What is not touched is copied, whatever it is.
    let base = files.write("base", &[damaged(0.0), ("m.weight", TensorData::from([[f32::NAN]]))]);
    let (_, merged) = files.merge(&base, &[(&adapter, 1.0)], F32).unwrap();
    assert!(values(&merged, "m.weight")[0].is_nan());
}

#[test]
fn a_sum_that_the_base_s_dtype_cannot_hold_is_refused() {
    let files = Files::new();
    let base = files.write("base", &[("l.weight", TensorData::from([[f16::ONE, f16::ONE]]))]);
    let adapter = files.write("a", &[("lycoris_l.diff", TensorData::from([[0.0f32, 1000.0]]))]);
    let message = refusal(&files, &base, &adapter, -100.0);
    assert_eq!(
        message,
        "/a: module \"lycoris_l\" at strength -100 makes \"l.weight\" of the base -inf at element 1; \
         merge with less strength, or into a base saved as F32"
    );
}

#[test]
fn quantised_weights_are_refused() {
    let files = Files::new();
    let base = files.write("base", &[("l.weight", TensorData::from([[1u8, 2]]))]);
    let adapter = files.write("a", &[("lycoris_l.diff", TensorData::from([[0.0f32, 1.0]]))]);
    let message = refusal(&files, &base, &adapter, 1.0);
    assert!(
        message.starts_with("/base: tensor \"l.weight\" cannot be adapted: it is U8"),
        "{message}"
    );
}

#[test]
fn weights_without_a_layer_s_shape_are_refused() {
    let files = Files::new();
    let adapter = files.write("a", &[("lycoris_l.diff", TensorData::from([[0.0f32]]))]);
    for shape in [vec![], vec![0, 2], vec![1; 6]] {
        let base = files.write("base", &[("l.weight", TensorData::zeros::<f32, _>(shape.clone()))]);
        let message = refusal(&files, &base, &adapter, 1.0);
        assert!(
            message.contains(&format!("no layer has a weight of shape {shape:?}")),
            "{message}"
        );
    }
}

#[test]
fn one_layer_under_two_names_is_refused() {
    let files = Files::new();
    let diff = || TensorData::zeros::<f32, _>([2, 2]);
    let adapter = files.write("a", &[("lycoris_l.diff", diff()), ("lora_unet_l.diff", diff())]);
    let message = refusal(&files, &base(&files), &adapter, 1.0);
    assert!(
        message.starts_with(
            "/a: its modules \"lora_unet_l\" and \"lycoris_l\" both adapt \"l.weight\""
        ),
        "{message}"
    );
}

#[test]
fn what_is_missing_is_named_whichever_key_it_is() {
    let files = Files::new();
    let (base, whole) = (base(&files), low_rank(&files, "whole"));
    let whole = Checkpoint::open(whole).unwrap();
    for missing in ["lora_up.weight", "lora_down.weight"] {
        let rest = whole.names().iter().filter(|key| !key.ends_with(missing));
        let rest: Vec<_> = rest.map(|key| (key.as_str(), whole.read(key).unwrap())).collect();
        let half = files.write("half", &rest);
        let errors = [
            files.merge(&base, &[(&half, 1.0)], F32).unwrap_err(),
            inspect(&half, None, &registry(), &Device::flex(), |_, _| ()).unwrap_err(),
        ];
        for error in errors.map(|error| error.to_string()) {
            assert!(
                error.contains(&format!("lycoris_l: tensor `{missing}` is missing")),
                "{error}"
            );
        }
    }
}

#[test]
fn shapes_and_types_that_no_adapter_has_are_refused() {
    let files = Files::new();
    let conv = TensorData::zeros::<f32, _>([6, 4, 3, 3]);
    let base = files
        .write("base", &[("c.weight", conv), ("l.weight", TensorData::zeros::<f32, _>([6, 4]))]);
    for (key, data, what) in [
        // As many values, in the same order: another kernel.
        (
            "lycoris_c.diff",
            TensorData::zeros::<f32, _>([6, 9, 4]),
            "expected [6, 4, 3, 3] or [6, 36]",
        ),
        ("lycoris_l.diff", TensorData::zeros::<f32, _>([3, 2, 4]), "expected [6, 4]"),
        ("lycoris_l.diff", TensorData::zeros::<i64, _>([6, 4]), "its values are I64, no floats"),
    ] {
        let adapter = files.write("adapter", &[(key, data)]);
        let message = files.merge(&base, &[(&adapter, 1.0)], F32).unwrap_err().to_string();
        assert!(message.contains(&format!("{key}: ")) && message.contains(what), "{message}");
    }
}

#[test]
fn an_overflow_names_the_adapter_that_makes_it() {
    let files = Files::new();
    let (base, small) = (base(&files), low_rank(&files, "small"));
    let large =
        files.write("large", &[("lycoris_l.diff", TensorData::from([[0.0f32; 2], [1e38; 2]]))]);
    let error = files.merge(&base, &[(&small, 1.0), (&large, 100.0)], F32).unwrap_err();
    let begin = format!(
        "{}: module \"lycoris_l\" at strength 100 makes \"l.weight\" of the base inf at element 2; ",
        large.display()
    );
    assert!(error.to_string().starts_with(&begin), "{error}");
    // No number at all: a rotation by values whose square overflows.
    let huge = TensorData::from([[[0.0f32, 1e30], [0.0, 0.0]]]);
    let turned = files.write("turned", &[("lycoris_l.oft_blocks", huge)]);
    match files.merge(&base, &[(&turned, 1.0)], F32) {
        Ok((_, merged)) => assert!(values(&merged, "l.weight").iter().all(|x| x.is_finite())),
        Err(error) => {
            assert!(error.to_string().contains("turned: module \"lycoris_l\""), "{error}")
        }
    }
}

#[test]
fn what_reading_assumes_is_said_once_for_each_file() {
    let registry = registry();
    let (device, base) = (Device::flex(), crate::testing::reference("lycoris/base.safetensors"));
    for (case, notes) in
        [("tlora_last", 1), ("tlora_principal", 1), ("lora", 0), ("lokr_full_matrix", 0)]
    {
        let path = crate::testing::reference(&format!("lycoris/{case}.safetensors"));
        let sources = [Source { path: path.clone(), strength: 1.0.into() }];
        let merge = Merge::plan(&base, &sources, &registry, &device, F32).unwrap();
        assert_eq!(merge.planned()[0].placed.notes.len(), notes, "{case}");
        let Ok(Inspection::Adapter(adapters)) = inspect(&path, None, &registry, &device, |_, _| ())
        else {
            panic!("{case} is an adapter")
        };
        assert_eq!(adapters.notes, merge.planned()[0].placed.notes);
        assert!(
            adapters.notes.iter().all(|note| note.contains("principal")),
            "{:?}",
            adapters.notes
        );
    }
}
