//! Embeddings against diffusers, in every form of file.

use std::fs;

use burn::tensor::{DType, Device, Tensor};
use higanbana_adapters::registry;
use higanbana_diffusion::{
    Pipeline,
    pipeline::{Learnt, attach_file},
    text::{Tokenizer, chunks},
};
use higanbana_io::{Checkpoint, writer::write_tensors};
use tempfile::TempDir;

use super::{
    formula,
    reference::{Expected, folder, pipeline_folder},
};

fn pipeline(case: &str) -> Pipeline {
    Pipeline::read(pipeline_folder(case).path(), &Device::default(), DType::F32).unwrap()
}

/// A file with tensors of the formula, by key, name and shape.
fn file(name: &str, tensors: &[(&str, &str, [usize; 2])]) -> (TempDir, std::path::PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join(name);
    let device = Device::default();
    let data = |name: &str, shape| formula::tensor::<2>(name, shape, &device).into_data();
    let tensors = tensors.iter().map(|(key, of, shape)| (key.to_string(), data(of, *shape)));
    write_tensors(&path, &tensors.collect(), &Default::default(), false).unwrap();
    (temp, path)
}

/// What the pipeline makes of a prompt is what diffusers does.
#[track_caller]
fn check(pipeline: &Pipeline, prompt: &str, key: &str) {
    let text = pipeline.encode(&[(prompt, 0)]).unwrap().remove(0);
    let expected = Expected::of("embeddings");
    expected.check(key, text.context, 1e-5);
    if pipeline.encoders.len() > 1 {
        expected.check(&key.replace("context", "pooled"), text.pooled, 1e-5);
    }
}

const ONE: &str = "a photo of lilium in the rain";
const BOTH: &str = "lilium, a <cat-toy>, best quality";
const XL: &str = "a red spider lily, pluvia and rain";

#[test]
fn a_token_means_its_vectors_as_in_diffusers() {
    let learned = folder("embeddings").join("learned_embeds.safetensors");
    let (_temp, lilium) = file("lilium.safetensors", &[("emb_params", "lilium", [2, 16])]);
    let mut pipeline = pipeline("sd");
    let learnt = pipeline.learn_files(&[(&lilium, None), (&learned, None)]).unwrap();
    let found: Vec<_> =
        learnt.iter().map(|Learnt { token, vectors, .. }| (&**token, *vectors)).collect();
    assert_eq!(found, [("<cat-toy>", 1), ("lilium", 2)]);
    check(&pipeline, ONE, ONE);
    check(&pipeline, BOTH, BOTH);
    assert!(pipeline.holds(BOTH, "lilium") && !pipeline.holds(ONE, "<cat-toy>"));

    // As torch pickles them.
    let [lilium_pt, learned_bin] =
        ["lilium.pt", "learned_embeds.bin"].map(|name| folder("embeddings").join(name));
    let mut pipeline = self::pipeline("sd");
    pipeline.learn_files(&[(&lilium_pt, None), (&learned_bin, None)]).unwrap();
    check(&pipeline, BOTH, BOTH);

    // Under another name.
    let mut pipeline = self::pipeline("sd");
    pipeline.learn_files(&[(&lilium, Some("<x>"))]).unwrap();
    check(&pipeline, &ONE.replace("lilium", "<x>"), ONE);
}

#[test]
fn sdxl_learns_a_token_in_both_encoders() {
    let whole = folder("embeddings").join("pluvia.safetensors");
    let mut pipeline = pipeline("sdxl");
    pipeline.learn_files(&[(&whole, None)]).unwrap();
    check(&pipeline, XL, &format!("{XL} context"));

    // The encoders' vectors in a file of their own, told by their widths.
    let [first, second] = [("pluvia l", 16), ("pluvia g", 24)]
        .map(|(name, width)| file("e.safetensors", &[("pluvia", name, [2, width])]));
    for (a, b) in [(&first.1, &second.1), (&second.1, &first.1)] {
        let mut pipeline = self::pipeline("sdxl");
        pipeline.learn_files(&[(a, None), (b, None)]).unwrap();
        check(&pipeline, XL, &format!("{XL} context"));
    }
    let error = self::pipeline("sdxl").learn_files(&[(&first.1, None)]).unwrap_err().to_string();
    assert!(error.ends_with(
        "has no vectors of pluvia for text encoder 2, of width 24; name the file that has"
    ));
}

#[test]
fn an_adapter_brings_its_tokens_along() {
    let lora = Checkpoint::open(folder("loras").join("sd.kohya.safetensors")).unwrap();
    let (_temp, lilium) = file("lilium.safetensors", &[("x", "lilium", [2, 16])]);
    let mut tensors: std::collections::BTreeMap<_, _> =
        lora.names().iter().map(|name| (name.clone(), lora.read(name).unwrap())).collect();
    let vectors = Checkpoint::open(&lilium).unwrap().read("x").unwrap();
    tensors.insert("bundle_emb.lilium.string_to_param.*".into(), vectors);
    let path = lilium.with_file_name("bundle.safetensors");
    write_tensors(&path, &tensors, &Default::default(), false).unwrap();

    let mut pipeline = pipeline("sd");
    let attached = attach_file(&mut pipeline, &path, &0.0.into(), &registry()).unwrap();
    assert!(attached.placed.leftovers.is_empty(), "{:?}", attached.placed.leftovers);
    let expected = Learnt { token: "lilium".into(), vectors: 2, path: path.clone() };
    assert_eq!(attached.learnt, [expected]);
    check(&pipeline, ONE, ONE);

    // The same file once more brings nothing new; other vectors of that token contradict it.
    assert_eq!(attach_file(&mut pipeline, &path, &1.0.into(), &registry()).unwrap().learnt, []);
    let (_temp, other) = file("lilium.safetensors", &[("emb_params", "other", [2, 16])]);
    let error = pipeline.learn_files(&[(&other, None)]).unwrap_err().to_string();
    assert!(error.contains("token lilium is learnt already"), "{error}");
}

#[test]
fn emphasis_holds_for_every_vector() {
    let (_temp, lilium) = file("lilium.safetensors", &[("emb_params", "lilium", [2, 16])]);
    let mut pipeline = pipeline("sd");
    pipeline.learn_files(&[(&lilium, None)]).unwrap();
    let tokenizer = &pipeline.encoders[0].tokenizer;
    let found = &chunks(tokenizer, "a (lilium:1.5)", 6, 1, 20).unwrap()[0];
    let [a] = tokenizer.tokens("a").unwrap()[..] else { panic!() };
    let (begin, end) = (tokenizer.begin(), tokenizer.end());
    assert_eq!(found.tokens, [begin, a, 2514, 2515, end, end]);
    assert_eq!(found.weights, [1.0, 1.0, 1.5, 1.5, 1.0, 1.0]);
}

/// A token of the vocabulary keeps its vectors to the bit.
#[test]
fn other_tokens_are_as_before() {
    let (_temp, lilium) = file("lilium.safetensors", &[("emb_params", "lilium", [2, 16])]);
    let mut pipeline = pipeline("sd");
    let of = |pipeline: &Pipeline| -> Tensor<3> {
        pipeline.encode(&[("a red spider lily", 0)]).unwrap().remove(0).context
    };
    let before = of(&pipeline).into_data();
    let tensors = pipeline.tensors();
    pipeline.learn_files(&[(&lilium, None)]).unwrap();
    assert_eq!(of(&pipeline).into_data(), before);
    // Files of the model do not have them.
    assert_eq!(pipeline.tensors(), tensors);
}

#[test]
fn what_does_not_fit_is_refused_in_a_line() {
    let xl = folder("embeddings").join("pluvia.safetensors");
    let (_a, wide) = file("a.safetensors", &[("emb_params", "x", [2, 24])]);
    let (_b, many) = file("b.safetensors", &[("<b>", "x", [76, 16])]);
    let (_c, several) = file("c.safetensors", &[("<x>", "x", [1, 16]), ("<y>", "y", [1, 16])]);
    let (_d, none) = file("d.safetensors", &[("a.weight", "x", [1, 16])]);
    let (_e, unequal) =
        file("e.safetensors", &[("clip_l", "x", [1, 16]), ("clip_g", "y", [2, 24])]);
    let (_f, swapped) =
        file("f.safetensors", &[("clip_l", "x", [1, 24]), ("clip_g", "y", [1, 16])]);
    type Files<'a> = &'a [(&'a std::path::Path, Option<&'a str>)];
    let cases: [(&str, Files, &str); 9] = [
        (
            "sd",
            &[(&wide, None)],
            "a.safetensors: token a has vectors of width 24, the text encoder's are 16; ",
        ),
        ("sd", &[(&xl, None)], "pluvia.safetensors: is for two text encoders; this model has one"),
        (
            "sd",
            &[(&many, None)],
            "b.safetensors: token <b> has 76 vectors; give each encoder as many, 1 to 75",
        ),
        ("sd", &[(&several, Some("z"))], "c.safetensors: holds several tokens; leave out =z"),
        ("sd", &[(&none, None)], "d.safetensors: holds no embedding"),
        ("sd", &[(&several, None), (&several, None)], "c.safetensors: token <x> is given twice"),
        (
            "sdxl",
            &[(&unequal, None)],
            "e.safetensors: token e has 2 vectors; give each encoder as many",
        ),
        (
            "sdxl",
            &[(&swapped, None)],
            "f.safetensors: token f has vectors of width 24, the text encoder's are 16",
        ),
        ("sd", &[(&several, Some(" "))], "holds several tokens"),
    ];
    for (case, files, expected) in cases {
        let mut pipeline = pipeline(case);
        let error = pipeline.learn_files(files).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
        assert!(pipeline.encoders.iter().all(|it| it.model.learnt().is_empty()));
    }
    let (_g, one) = file("g.safetensors", &[("emb_params", "x", [1, 16])]);
    let error = pipeline("sd").learn_files(&[(&one, Some(" "))]).unwrap_err().to_string();
    assert!(error.contains("g.safetensors: token   is no token"), "{error}");
    fs::remove_file(&one).unwrap();
}

/// A prompt of several chunks has no token in two of them, as in the web UI.
#[test]
fn a_token_is_not_cut() {
    let (_temp, lilium) = file("lilium.safetensors", &[("emb_params", "lilium", [2, 16])]);
    let mut pipeline = pipeline("sd");
    pipeline.learn_files(&[(&lilium, None)]).unwrap();
    let tokenizer = &pipeline.encoders[0].tokenizer;
    let [a] = tokenizer.tokens("a").unwrap()[..] else { panic!() };
    let (begin, end) = (tokenizer.begin(), tokenizer.end());
    let of = |prompt: &str, positions| -> Vec<Vec<usize>> {
        chunks(tokenizer, prompt, positions, 1, 20)
            .unwrap()
            .into_iter()
            .map(|it| it.tokens)
            .collect()
    };
    let [first, second] = [2514, 2515];
    assert_eq!(
        of("a a lilium lilium a", 5),
        [[begin, a, a, end, end], [begin, first, second, end, end], [begin, first, second, a, end]]
    );
    // One that no chunk has room for.
    assert_eq!(of("lilium", 3), [[begin, first, end], [begin, second, end]]);
}

/// A vocabulary of whole words takes a word that it does not have.
#[test]
fn a_vocabulary_of_words_learns_others() {
    let temp = tempfile::tempdir().unwrap();
    let words = r#"{
        "version": "1.0", "added_tokens": [], "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "", "vocab": {
            "<|startoftext|>": 0, "<|endoftext|>": 1, "red": 2, "lily": 3
        }}
    }"#;
    fs::write(temp.path().join("tokenizer.json"), words).unwrap();
    let mut tokenizer = Tokenizer::read(temp.path()).unwrap();
    let error = tokenizer.tokens("red sks lily").unwrap_err().to_string();
    assert!(error.contains("has the word sks"), "{error}");
    tokenizer.learn("sks", 4..6).unwrap();
    assert_eq!(tokenizer.tokens("red sks lily").unwrap(), [2, 4, 5, 3]);
    // Also in place of one that it has.
    tokenizer.learn("lily", 6..7).unwrap();
    assert_eq!(tokenizer.tokens("Red SKS Lily").unwrap(), [2, 4, 5, 6]);
}
