//! cloneofsimo/lora's counted pairs, by the names that kohya gives their layers: `tests/reference/make_formats.py`.

use std::fs;

use burn::tensor::TensorData;
use higanbana_adapters::registry;
use tempfile::tempdir;

use super::Fixture;
use crate::{AdapterReader, Dialect, Embedding, dialect::AdapterFile, testing::reference};

fn read(name: &str) -> AdapterFile {
    let path = reference(&format!("formats/{name}"));
    AdapterReader::open(path, &registry()).unwrap().read_all().unwrap()
}

#[test]
fn pairs_are_those_of_diffusers_layers_in_their_order() {
    let (counted, named) = (read("counted.safetensors"), read("counted_by_name.safetensors"));
    assert_eq!((counted.modules.len(), counted.dialect), (192, Dialect::Kohya));
    assert_eq!(counted.modules, named.modules);
    let unused: Vec<_> = counted.unused.iter().map(|unused| unused.key.as_str()).collect();
    assert_eq!(unused, ["<s1>", "<s2>"]);
}

#[test]
fn lists_are_of_the_model_that_their_name_tells() {
    let named = read("counted_by_name.safetensors");
    for (list, model, pairs) in
        [("counted.pt", "lora_unet_", 10), ("counted.text_encoder.pt", "lora_te_", 5)]
    {
        let counted = read(list);
        assert_eq!(counted.modules.len(), pairs);
        for (module, tensors) in counted.modules {
            assert!(module.starts_with(model));
            assert_eq!(named.modules[&module], tensors, "{module}");
        }
    }
}

#[test]
fn tokens_are_what_the_metadata_call_so() {
    let file = crate::Checkpoint::open(reference("formats/counted.safetensors")).unwrap();
    let tokens = Embedding::bundled(&file).unwrap().into_iter().map(|it| it.token);
    assert_eq!(tokens.collect::<Vec<_>>(), ["<s1>", "<s2>"]);
}

#[test]
fn layers_that_count_otherwise_are_told_by_the_metadata() {
    let pair = |index| {
        let one = || TensorData::ones::<f32, _>([1, 1]);
        [(format!("unet:{index}:up"), one()), (format!("unet:{index}:down"), one())]
    };
    let [up, down] = pair(4);
    let tensors = [(up.0.as_str(), up.1), (down.0.as_str(), down.1)];
    let attention = r#"["CrossAttention", "Attention"]"#;
    let fixture = Fixture::with_metadata(tensors.clone(), &[("unet", attention)]);
    let modules: Vec<_> = fixture.read().modules.into_keys().collect();
    assert_eq!(modules, ["lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_q"]);
    let extended = r#"["ResnetBlock2D", "CrossAttention"]"#;
    let fixture = Fixture::with_metadata(tensors, &[("unet", extended)]);
    let message = fixture.open().unwrap_err().to_string();
    assert!(message.contains("counted together with convolutions"), "{message}");
}

#[test]
fn a_pair_beyond_the_last_layer_is_left_over() {
    let one = || TensorData::ones::<f32, _>([1, 1]);
    let fixture = Fixture::new([
        ("unet:0:up", one()),
        ("unet:0:down", one()),
        ("unet:144:up", one()),
        ("unet:144:down", one()),
    ]);
    let unused: Vec<_> = fixture.read().unused.into_iter().map(|unused| unused.key).collect();
    assert_eq!(unused, ["unet:144:down", "unet:144:up"]);
}

#[test]
fn a_renamed_list_of_the_text_encoder_keeps_its_meaning_by_its_ending() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("mine.text_encoder.pt");
    fs::copy(reference("formats/counted.text_encoder.pt"), &path).unwrap();
    let file = AdapterReader::open(path, &registry()).unwrap();
    assert!(file.modules().all(|module| module.starts_with("lora_te_text_model_encoder_layers_")));
}
