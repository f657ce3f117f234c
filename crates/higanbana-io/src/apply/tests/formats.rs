//! Bases and adapters that are no single safetensors file of 16 or 32 bits.

use std::fs;

use burn::tensor::{DType::F32, TensorData};
use half::f16;
use safetensors::{Dtype, tensor::TensorView};

use super::*;
use crate::testing::reference;

/// A base of 8-bit floats: `a` of 1, 2, 3, 4 (scaled by 0.5), `b` of the same, not scaled.
fn quantised(files: &Files) -> PathBuf {
    // 1, 2, 3, 4 as E4M3: exponents 7, 8, 8, 9 and fractions 0, 0, 4, 0.
    let bytes = [0x38u8, 0x40, 0x44, 0x48];
    let scale = 0.5f32.to_le_bytes();
    let eight = || TensorView::new(Dtype::F8_E4M3, vec![2, 2], &bytes).unwrap();
    let scale = TensorView::new(Dtype::F32, vec![], &scale).unwrap();
    let tensors = [("a.weight", eight()), ("a.scale_weight", scale), ("b.weight", eight())];
    let path = files.path("base");
    fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    path
}

fn low_rank(files: &Files, name: &str, module: &str) -> PathBuf {
    let (up, down) = (format!("{module}.lora_up.weight"), format!("{module}.lora_down.weight"));
    files.write(
        name,
        &[(&up, TensorData::from([[0.25f32], [0.5]])), (&down, TensorData::from([[1.0f32, -1.0]]))],
    )
}

#[test]
fn what_changes_of_an_8_bit_base_is_16_bit_and_unscaled() {
    let files = Files::new();
    let (base, adapter) = (quantised(&files), low_rank(&files, "adapter", "lycoris_a"));
    let (left, merged) = files.merge(&base, &[(&adapter, 1.0)], F32).unwrap();
    assert!(left.is_empty());
    assert_eq!(merged.info("a.weight").unwrap().dtype, Dtype::F16);
    assert_eq!(values(&merged, "a.weight"), [0.5 + 0.25, 1.0 - 0.25, 1.5 + 0.5, 2.0 - 0.5]);
    assert_eq!(values(&merged, "a.scale_weight"), [1.0]);
    let base = Checkpoint::open(&base).unwrap();
    assert_eq!(merged.info("b.weight"), base.info("b.weight"));
    assert_eq!(merged.read_bytes("b.weight").unwrap(), base.read_bytes("b.weight").unwrap());

    // At strength 0 nothing changes, and the scale stays what it was.
    let (_, off) = files.merge(base.path(), &[(&adapter, 0.0)], F32).unwrap();
    assert_eq!(off.info("a.weight"), base.info("a.weight"));
    assert_eq!(values(&off, "a.scale_weight"), [0.5]);
}

#[test]
fn that_an_8_bit_base_is_widened_is_said() {
    let files = Files::new();
    let (base, adapter) = (quantised(&files), low_rank(&files, "adapter", "lycoris_b"));
    let sources = [Source { path: adapter, strength: 1.0.into() }];
    let registry = registry();
    let merge = Merge::plan(&base, &sources, &registry, &Device::flex(), F32).unwrap();
    let [note] = &merge.notes()[..] else { panic!("{:?}", merge.notes()) };
    assert!(note.contains("1 of its 8-bit weights change and are F16"), "{note}");
}

#[test]
fn an_8_bit_adapter_acts_with_its_values() {
    let files = Files::new();
    let base = files.write("base", &[("l.weight", TensorData::from([[1.0f32, 1.0], [1.0, 1.0]]))]);
    // 1 and -2 as E5M2: F16 without its lower byte.
    let bits = |x: f32| (f16::from_f32(x).to_bits() >> 8) as u8;
    let (up, down) = ([bits(1.0), bits(-2.0)], [bits(0.5), bits(4.0)]);
    let view = |data, shape| TensorView::new(Dtype::F8_E5M2, shape, data).unwrap();
    let tensors = [
        ("lycoris_l.lora_up.weight", view(&up[..], vec![2, 1])),
        ("lycoris_l.lora_down.weight", view(&down[..], vec![1, 2])),
    ];
    let adapter = files.path("adapter");
    fs::write(&adapter, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let (_, merged) = files.merge(&base, &[(&adapter, 1.0)], F32).unwrap();
    assert_eq!(values(&merged, "l.weight"), [1.5, 5.0, 0.0, -7.0]);
}

#[test]
fn directories_are_bases_and_adapters() {
    let files = Files::new();
    fs::create_dir_all(files.path("pipe/unet")).unwrap();
    fs::create_dir_all(files.path("pipe/text_encoder")).unwrap();
    fs::create_dir_all(files.path("peft")).unwrap();
    let ones = || TensorData::from([[1.0f32, 1.0], [1.0, 1.0]]);
    files.write("pipe/unet/diffusion_pytorch_model.safetensors", &[("mid_block.a.weight", ones())]);
    files.write("pipe/text_encoder/model.safetensors", &[("text_model.b.weight", ones())]);
    let adapter = "peft/adapter_model.safetensors";
    files.write(
        adapter,
        &[
            ("base_model.model.mid_block.a.lora_B.weight", TensorData::from([[0.25f32], [0.5]])),
            ("base_model.model.mid_block.a.lora_A.weight", TensorData::from([[1.0f32, -1.0]])),
        ],
    );
    // alpha / r = 2.
    let config = r#"{"peft_type": "LORA", "r": 1, "lora_alpha": 2}"#;
    fs::write(files.path("peft/adapter_config.json"), config).unwrap();
    let expected = [1.5, 0.5, 2.0, 0.0];
    for (base, key, tensors) in
        [("pipe/unet", "mid_block.a.weight", 1), ("pipe", "unet.mid_block.a.weight", 2)]
    {
        let sources = [(&*files.path("peft"), 1.0)];
        let (left, merged) = files.merge(&files.path(base), &sources, F32).unwrap();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(values(&merged, key), expected, "{base}");
        assert_eq!(merged.names().len(), tensors);
    }
}

/// kohya's own rotations, whose names begin with `oft_unet_`: expected values by numpy.
#[test]
fn kohya_s_rotations_are_those_of_its_formula() {
    let files = Files::new();
    let of = |name: &str| reference(&format!("formats/{name}.safetensors"));
    let expected = Checkpoint::open(of("oft_expected")).unwrap();
    let key = "mid_block.attentions.0.proj_in.weight";
    let base = files.write("base", &[(key, expected.read(key).unwrap())]);
    for name in ["free", "bounded"] {
        for strength in [1.0, 0.5] {
            let adapter = of(&format!("oft_{name}"));
            let (left, merged) = files.merge(&base, &[(&adapter, strength)], F32).unwrap();
            assert!(left.is_empty());
            let expected = values(&expected, &format!("{name}@{strength}"));
            let error = relative(&values(&merged, key), &expected);
            assert!(error < 1e-6, "{name} at {strength}: {error}");
        }
    }
}

/// A base whose first layer has 3 input channels, and an adapter for 2 of them.
fn wider(files: &Files) -> [PathBuf; 2] {
    let ramp = |shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        TensorData::new((0..count).map(|i| i as f32).collect::<Vec<_>>(), shape.to_vec())
    };
    let base = files
        .write("base", &[("conv_in.weight", ramp(&[2, 3, 1, 2])), ("l.weight", ramp(&[2, 2]))]);
    let adapter = files.write(
        "adapter",
        &[
            ("lycoris_conv_in.lora_up.weight", TensorData::new(vec![1.0f32, 2.0], [2, 1, 1, 1])),
            ("lycoris_conv_in.lora_down.weight", ramp(&[1, 2, 1, 2])),
            ("lycoris_l.lora_up.weight", TensorData::from([[1.0f32], [0.0]])),
            ("lycoris_l.lora_down.weight", TensorData::from([[0.5f32, 0.25]])),
        ],
    );
    [base, adapter]
}

fn fitted(files: &Files, fitting: &Fitting) -> Result<(Vec<String>, Checkpoint), ApplyError> {
    let [base, adapter] = wider(files);
    let sources = [Source { path: adapter, strength: 1.0.into() }];
    let registry = registry();
    let merge = Merge::plan_with(&base, &sources, &registry, &Device::flex(), F32, fitting)?;
    merge.write(&files.path("merged"), true, |_| ())?;
    let notes = merge.planned()[0].placed.notes.clone();
    Ok((notes, Checkpoint::open(files.path("merged"))?))
}

#[test]
fn what_does_not_fit_is_refused_with_the_choice() {
    let files = Files::new();
    let message = fitted(&files, &Fitting::default()).unwrap_err().to_string();
    assert!(
        message.contains("lycoris_conv_in.lora_down.weight: shape [1, 2, 1, 2] does not fit"),
        "{message}"
    );
    assert!(
        message.contains("--leave-out lycoris_conv_in") && message.contains("--pad"),
        "{message}"
    );
    assert!(!message.contains('\n'));
}

#[test]
fn an_update_of_fewer_channels_is_padded_with_zeros() {
    let files = Files::new();
    let (_, merged) = fitted(&files, &Fitting { pad: true, ..Fitting::default() }).unwrap();
    // W0 counts to 11; up is 1 and 2, down counts to 3: of each row the first four change.
    let expected = [0., 2., 4., 6., 4., 5., 6., 9., 12., 15., 10., 11.];
    assert_eq!(values(&merged, "conv_in.weight"), expected);
    assert_eq!(values(&merged, "l.weight"), [0.5, 1.25, 2.0, 3.0]);
}

#[test]
fn a_module_is_left_out_by_name() {
    let files = Files::new();
    let leave_out = |name: &str| Fitting { leave_out: vec![name.into()], ..Fitting::default() };
    let (notes, merged) = fitted(&files, &leave_out("lycoris_conv_in")).unwrap();
    assert_eq!(values(&merged, "conv_in.weight"), (0..12).map(f64::from).collect::<Vec<_>>());
    assert_eq!(values(&merged, "l.weight"), [0.5, 1.25, 2.0, 3.0]);
    assert!(notes.iter().any(|note| note.ends_with("lycoris_conv_in is left out, as asked")));
    let message = fitted(&files, &leave_out("lycoris_conv")).unwrap_err().to_string();
    assert!(
        message.contains("has no module \"lycoris_conv\" to leave out; nearest: lycoris_conv_in"),
        "{message}"
    );
}
