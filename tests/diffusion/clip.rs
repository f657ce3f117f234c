//! The text encoders against transformers.

use burn::tensor::{DType, Device};
use higanbana_diffusion::{
    CLIPTextModel, ClipConfig,
    clip::Activation,
    weights::{parameter_count, table},
};
use higanbana_io::{Checkpoint, Dtype, FileError, writer};
use tempfile::TempDir;

use super::{
    formula,
    reference::{Expected, folder},
};

/// A folder with a tiny text encoder; without the prefix of names if `bare`.
fn clip_folder(case: &str, bare: bool) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    let path = folder(case).join("config.json");
    std::fs::copy(&path, temp.path().join("config.json")).unwrap();
    let projection = case.ends_with("projection").then_some(12);
    let config = ClipConfig { projection, ..ClipConfig::read(&path).unwrap() };
    let model = CLIPTextModel::new(&config, &Device::default());
    let entries = table(&model).into_iter().map(|tensor| {
        let (key, shape) = (tensor.key.clone(), tensor.shape.clone());
        let name = if bare { key.trim_start_matches("text_model.") } else { &key }.to_string();
        writer::Entry::new(name, Dtype::F32, tensor.shape, move || {
            Ok::<_, FileError>(formula::bytes(&formula::weight(&key, &shape)))
        })
    });
    // A buffer that old files hold.
    let ids = writer::Entry::new("text_model.embeddings.position_ids", Dtype::I64, [1], || {
        Ok(vec![0; 8])
    });
    let file = temp.path().join("model.safetensors");
    writer::write(&file, entries.chain([ids]).collect(), &Default::default(), true).unwrap();
    temp
}

fn ids() -> Vec<Vec<usize>> {
    let file = Checkpoint::open(folder("clip_ids.safetensors")).unwrap();
    let ids: Vec<i64> = file.read("ids").unwrap().iter().collect();
    ids.chunks(77).map(|text| text.iter().map(|id| *id as usize).collect()).collect()
}

#[test]
fn every_layer_is_that_of_transformers() {
    let device = Device::default();
    for case in ["clip_quick", "clip_gelu", "clip_projection"] {
        let expected = Expected::of(case);
        for bare in [false, true] {
            let model =
                CLIPTextModel::read(clip_folder(case, bare).path(), &device, DType::F32).unwrap();
            let encoded = model.forward(&ids()).unwrap();
            let offs = [
                expected.check("last", encoded.last, 1e-4),
                expected.check("hidden_1", encoded.hidden[1].clone(), 1e-4),
                expected.check("hidden_2", encoded.hidden[2].clone(), 1e-4),
                expected.check("pooled", encoded.pooled, 1e-4),
            ];
            println!("{case}: {offs:.1?}", offs = offs.map(|off| off * 1e6));
        }
    }
}

#[test]
fn the_published_models_have_as_many_parameters() {
    let count = |width, inner, layers, heads, projection| {
        let config = ClipConfig {
            vocabulary: 49408,
            positions: 77,
            width,
            inner,
            layers,
            heads,
            activation: Activation::Gelu,
            norm_eps: 1e-5,
            end: 2,
            projection,
        };
        parameter_count(&CLIPTextModel::new(&config, &Device::default()))
    };
    assert_eq!(count(768, 3072, 12, 12, None), 123_060_480);
    assert_eq!(count(1024, 4096, 23, 16, None), 340_387_840);
    assert_eq!(count(1280, 5120, 32, 20, Some(1280)), 694_659_840);
}

#[test]
fn texts_that_cannot_be_encoded_are_refused() {
    let folder = clip_folder("clip_gelu", false);
    let model = CLIPTextModel::read(folder.path(), &Device::default(), DType::F32).unwrap();
    for (texts, expected) in [
        (vec![], "are none"),
        (vec![vec![]], "must all be of one length, between 1 and 77"),
        (vec![vec![1; 78]], "must all be of one length, between 1 and 77"),
        (vec![vec![1], vec![1, 2]], "must all be of one length"),
        (vec![vec![300]], "have the token 300; this encoder has 300"),
    ] {
        let error = model.forward(&texts).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
