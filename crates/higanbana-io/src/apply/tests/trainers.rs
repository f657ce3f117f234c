//! What OneTrainer, PEFT and ai-toolkit write, by the weights that these act with: `tests/reference/make_trainers.py`.

use burn::tensor::{DType::F32, TensorData};

use super::*;
use crate::{
    AdapterReader, Names,
    dialect::{Dialect, Network},
    testing::reference,
};

/// An adapter, the base that it is for, and what becomes of it.
const CASES: [[&str; 3]; 8] = [
    ["onetrainer_oft.safetensors", "base", "onetrainer_oft.expected"],
    ["onetrainer_oft_dotted.safetensors", "base", "onetrainer_oft.expected"],
    ["peft_oft", "peft_base", "peft_oft/expected"],
    ["peft_oft_exact", "peft_base", "peft_oft_exact/expected"],
    ["aitoolkit_lora.safetensors", "base", "aitoolkit_lora.expected"],
    ["aitoolkit_lokr.safetensors", "base", "aitoolkit_lokr.expected"],
    ["aitoolkit_dora.safetensors", "base", "aitoolkit_dora.expected"],
    ["aitoolkit_flux.safetensors", "flux", "aitoolkit_flux.expected"],
];

fn fixture(name: &str) -> PathBuf {
    reference("trainers").join(name)
}

fn tensors(name: &str) -> Checkpoint {
    Checkpoint::open(fixture(&format!("{name}.safetensors"))).unwrap()
}

/// Asserts that the adapter does to the base what its trainer does, and half of it at half the strength.
fn expect(files: &Files, adapter: &Path, [case, base, expected]: [&str; 3]) {
    let (base, expected) = (tensors(base), tensors(expected));
    for strength in [1.0, 0.5] {
        let (left, merged) = files.merge(base.path(), &[(adapter, strength)], F32).unwrap();
        assert_eq!(left, [], "{case}");
        for key in base.names() {
            let before = values(&base, key);
            let after = expected.info(key).map_or(before.clone(), |_| values(&expected, key));
            let moved = before.iter().zip(&after).map(|(w0, w)| w0 + strength * (w - w0));
            let off = relative(&values(&merged, key), &moved.collect::<Vec<_>>());
            assert!(off < 1e-6, "{case}, {key} at {strength}: {off:.1e}");
        }
    }
}

#[test]
fn every_file_acts_as_in_its_trainer() {
    let files = Files::new();
    CASES.iter().for_each(|case| expect(&files, &fixture(case[0]), *case));
}

#[test]
fn every_file_acts_alike_in_the_flattened_dialects() {
    let files = Files::new();
    for case in CASES {
        let file = AdapterReader::open(fixture(case[0]), &registry()).unwrap().read_all().unwrap();
        let names = Names::new(tensors(case[1]).names());
        for to in [Dialect::Kohya, Dialect::Lycoris] {
            let encoded = file.encode(&registry(), to, Some(&names), &Network::default()).unwrap();
            encoded.write(&files.path("converted"), true).unwrap();
            expect(&files, &files.path("converted"), case);
        }
    }
}

#[test]
fn algorithms_are_told_without_the_base() {
    for (case, algorithm) in [
        ("onetrainer_oft.safetensors", "oftv2"),
        ("onetrainer_oft_dotted.safetensors", "oftv2"),
        ("peft_oft", "oftv2"),
        ("peft_oft_exact", "oftv2"),
        ("aitoolkit_lokr.safetensors", "lokr"),
        ("aitoolkit_dora.safetensors", "lora+dora"),
        ("aitoolkit_flux.safetensors", "lokr"),
    ] {
        let told = inspect(&fixture(case), None, &registry(), &Device::flex(), |_, _| ());
        let Ok(Inspection::Adapter(told)) = told else { panic!("{case}") };
        assert!(told.adapters.iter().all(|row| row.algorithm == algorithm), "{case}");
        assert_eq!(told.leftovers, [], "{case}");
    }
}

/// PEFT's own file of OFT, with another word in its configuration.
#[test]
fn what_peft_s_configuration_makes_of_rotations_is_obeyed_or_refused() {
    let files = Files::new();
    let folder = files.path("peft");
    std::fs::create_dir(&folder).unwrap();
    let of = |name: &str| fixture("peft_oft").join(name);
    std::fs::copy(of("adapter_model.safetensors"), folder.join("adapter_model.safetensors"))
        .unwrap();
    let config = std::fs::read_to_string(of("adapter_config.json")).unwrap();
    let open = |from: &str, to: &str| {
        assert!(config.contains(from));
        std::fs::write(folder.join("adapter_config.json"), config.replace(from, to)).unwrap();
        AdapterReader::open(&folder, &registry())
    };
    for (from, to, what) in [
        ("\"coft\": false", "\"coft\": true", "coft is true, under which PEFT shrinks"),
        ("\"fan_in_fan_out\": false", "\"fan_in_fan_out\": true", "fan_in_fan_out is true, so"),
        ("_terms\": 5", "_terms\": 2", "num_cayley_neumann_terms is 2, a series that is not read"),
        ("neumann\": true", "neumann\": 1", "use_cayley_neumann is 1, neither true nor false"),
        ("\"OFT\"", "\"HRA\"", "its peft_type is HRA"),
    ] {
        let message = open(from, to).unwrap_err().to_string();
        assert!(message.contains(what) && !message.contains('\n'), "{message}");
    }
    let terms = |reader: &AdapterReader| {
        let module = reader.modules().next().unwrap().to_string();
        reader.number(&module, "oft_R.terms")
    };
    assert_eq!(terms(&open("_terms\": 5", "_terms\": 9").unwrap()), Some(9.0));
    assert_eq!(terms(&open("neumann\": true", "neumann\": false").unwrap()), Some(0.0));
    // PEFT's defaults, where nothing says anything; of another program's file it says nothing.
    std::fs::remove_file(folder.join("adapter_config.json")).unwrap();
    let reader = AdapterReader::open(&folder, &registry()).unwrap();
    assert_eq!(terms(&reader), Some(5.0));
    assert!(reader.notes()[0].contains("every option to be PEFT's default"));
    let reader = AdapterReader::open(fixture(CASES[0][0]), &registry()).unwrap();
    assert_eq!(terms(&reader), None);
}

#[test]
fn rotations_that_do_not_fit_say_what_would() {
    let files = Files::new();
    let base = files.write("base", &[("l.weight", TensorData::zeros::<f32, _>([4, 6]))]);
    let zeros = |shape: [usize; 2]| TensorData::zeros::<f32, _>(shape);
    for (weight, terms, what) in [
        (zeros([2, 2]), 5.0, "oft_R.weight: shape [2, 2] does not fit, expected [k, b(b-1)/2]"),
        (zeros([3, 3]), 5.0, "with k·b = 6, or k = 1"),
        (zeros([1, 6]), 5.0, "with k·b = 6, or k = 1"),
        (zeros([2, 3]), 2.0, "oft_R.terms: shape [1] does not fit, expected 0, or 3 to 64"),
        (zeros([2, 3]), 1e9, "expected 0, or 3 to 64"),
        (zeros([2, 0]), 5.0, "oft_R.weight"),
    ] {
        let terms = TensorData::from([terms as f32]);
        let adapter = files.write(
            "adapter",
            &[("lycoris_l.oft_R.weight", weight), ("lycoris_l.oft_R.terms", terms)],
        );
        let message = files.merge(&base, &[(&adapter, 1.0)], F32).unwrap_err().to_string();
        assert!(message.contains(what) && !message.contains('\n'), "{message}");
    }
}

/// ai-toolkit can also train whole matrices as if they were low-rank, biases of the factors, and layers in the
/// place of the model's own: none of it is an update that its file tells, and all of it is said.
#[test]
fn what_ai_toolkit_writes_that_is_no_update_is_said() {
    let files = Files::new();
    let zeros = |shape: &[usize]| TensorData::zeros::<f32, _>(shape.to_vec());
    let base = files.write("base", &[("unet.mid_block.a.weight", zeros(&[4, 4]))]);
    let whole = files.write(
        "whole",
        &[
            ("lora_unet_mid_block_a.lora_down.weight", zeros(&[4, 4])),
            ("lora_unet_mid_block_a.alpha", zeros(&[1])),
        ],
    );
    let message = files.merge(&base, &[(&whole, 1.0)], F32).unwrap_err().to_string();
    assert!(
        message.contains("lora_unet_mid_block_a: tensor `lora_up.weight` is missing"),
        "{message}"
    );
    let more = files.write(
        "more",
        &[
            ("lora_unet_mid_block_a.lora_down.weight", zeros(&[2, 4])),
            ("lora_unet_mid_block_a.lora_up.weight", zeros(&[4, 2])),
            ("lora_unet_mid_block_a.lora_up.bias", zeros(&[4])),
            ("unet_conv_in.weight", zeros(&[4, 4, 3, 3])),
            ("emb_params", zeros(&[1, 4])),
        ],
    );
    let (left, _) = files.merge(&base, &[(&more, 1.0)], F32).unwrap();
    let mut harmful: Vec<_> = left.iter().filter(|it| !it.harmless).map(|it| &*it.name).collect();
    harmful.sort_unstable();
    assert_eq!(
        harmful,
        ["emb_params", "lora_unet_mid_block_a.lora_up.bias", "unet_conv_in.weight"]
    );
}
