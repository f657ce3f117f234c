use std::{collections::BTreeMap, path::PathBuf};

use burn::tensor::TensorData;
use tempfile::TempDir;

use super::*;
use crate::writer::write_tensors;

struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, tensors: &[(&str, &[usize])], about: &[(&str, &str)]) -> Checkpoint {
        let path: PathBuf = self.0.path().join(name);
        let data = |shape: &[usize]| {
            let count = shape.iter().product::<usize>();
            TensorData::new((0..count).map(|i| i as f32).collect::<Vec<_>>(), shape.to_vec())
        };
        let tensors: BTreeMap<_, _> =
            tensors.iter().map(|(key, shape)| (key.to_string(), data(shape))).collect();
        let about = about.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        write_tensors(&path, &tensors, &about, true).unwrap();
        Checkpoint::open(&path).unwrap()
    }
}

/// Token, encoder, vectors, width.
type Row<'a> = (&'a str, Option<Component>, usize, usize);

fn rows(found: &[Embedding]) -> Vec<Row<'_>> {
    found.iter().map(|it| (it.token.as_str(), it.encoder, it.vectors, it.width)).collect()
}

const FIRST: Option<Component> = Some(Component::TextEncoder);
const SECOND: Option<Component> = Some(Component::TextEncoder2);

#[test]
fn every_form_names_token_encoder_and_size() {
    let desk = Desk::new();
    let phrase: &[(&str, &str)] = &[("modelspec.trigger_phrase", "<lily>")];
    let sentence: &[(&str, &str)] = &[("modelspec.trigger_phrase", "in the style of a lily")];
    type Case<'a> = (&'a [(&'a str, &'a [usize])], &'a [(&'a str, &'a str)], &'a [Row<'a>]);
    let cases: [Case; 11] = [
        (&[("emb_params", &[3, 8])], &[], &[("lily.v1", None, 3, 8)]),
        (&[("emb_params", &[3, 8])], phrase, &[("<lily>", None, 3, 8)]),
        (&[("emb_params", &[8])], sentence, &[("lily.v1", None, 1, 8)]),
        (&[("string_to_param.*", &[2, 8])], &[], &[("lily.v1", None, 2, 8)]),
        (
            &[("clip_g", &[2, 12]), ("clip_l", &[2, 8])],
            &[],
            &[("lily.v1", FIRST, 2, 8), ("lily.v1", SECOND, 2, 12)],
        ),
        (
            &[("text_encoders_0", &[2, 8]), ("text_encoders_1", &[2, 12])],
            &[],
            &[("lily.v1", FIRST, 2, 8), ("lily.v1", SECOND, 2, 12)],
        ),
        (&[("<b.c>", &[8]), ("<a>", &[2, 8])], &[], &[("<a>", None, 2, 8), ("<b.c>", None, 1, 8)]),
        (&[("cat-toy", &[1, 8])], &[], &[("cat-toy", None, 1, 8)]),
        // A matrix, a tensor of a layer, and the latents of an image.
        (&[("weight", &[76, 8])], &[], &[]),
        (&[("a.weight", &[2, 8])], &[], &[]),
        (&[("latents", &[1, 4, 8, 8])], &[], &[]),
    ];
    for (tensors, about, expected) in cases {
        let file = desk.file("lily.v1.safetensors", tensors, about);
        assert_eq!(rows(&Embedding::all(&file).unwrap()), expected, "{tensors:?}");
        assert_eq!(Embedding::bundled(&file).unwrap(), []);
    }
}

#[test]
fn those_of_an_adapter_are_found_beside_it() {
    let desk = Desk::new();
    let tensors: &[(&str, &[usize])] = &[
        ("lora_unet_a.lora_up.weight", &[2, 1]),
        ("bundle_emb.lily.string_to_param.*", &[2, 8]),
        ("bundle_emb.rain.clip_l", &[1, 8]),
        ("bundle_emb.rain.clip_g", &[1, 12]),
        ("bundle_emb.rain.other", &[1, 12]),
        ("<s1>", &[8]),
        ("<s2>", &[8]),
    ];
    let file = desk.file("a", tensors, &[("<s1>", "<embed>")]);
    let expected = [
        ("<s1>", None, 1, 8),
        ("lily", None, 2, 8),
        ("rain", FIRST, 1, 8),
        ("rain", SECOND, 1, 12),
    ];
    let found = Embedding::bundled(&file).unwrap();
    assert_eq!(rows(&found), expected);
    // Asked for by themselves, what is written as a token is one.
    let all = Embedding::all(&file).unwrap();
    assert_eq!(rows(&all), [&expected[..1], &[("<s2>", None, 1, 8)], &expected[1..]].concat());
    let values: Vec<f32> = (0..16).map(|i| i as f32).collect();
    assert_eq!(found[1].read(&file).unwrap(), TensorData::new(values, [2, 8]));
}

#[test]
fn an_impossible_shape_is_refused_with_its_key() {
    let desk = Desk::new();
    for shape in [&[2, 2, 8][..], &[0, 8], &[]] {
        let file = desk.file("a", &[("emb_params", shape)], &[]);
        let error = Embedding::all(&file).unwrap_err().to_string();
        assert!(error.contains("\"emb_params\" has shape"), "{error}");
    }
}
