//! Prompts against the web UI's reading of them, and what of them reaches the model.

use std::fs;

use burn::tensor::{DType, Device};
use higanbana_diffusion::{
    Pipeline, Request,
    text::{BACKTRACK, Part, Piece, Prompt, Stage, Tokenizer, chunks, sections},
};
use serde::Deserialize;

use super::{
    formula,
    reference::{Expected, folder, pipeline_folder},
};

#[derive(Deserialize)]
struct Case {
    prompt: String,
    weights: Vec<(String, f64)>,
    stages: Option<Vec<(usize, String)>>,
}

fn cases() -> Vec<Case> {
    let text = fs::read_to_string(folder("prompts.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() > 200);
    cases
}

/// The web UI's pieces, a `BREAK` of which is a piece of weight -1.
fn webuis(weights: &[(String, f64)]) -> Vec<Vec<Piece>> {
    let sections = weights.split(|(text, weight)| text == "BREAK" && *weight == -1.0);
    let piece = |(text, weight): &(String, f64)| Piece { text: text.clone(), weight: *weight };
    let full = |section: &[(String, f64)]| {
        section.iter().map(piece).filter(|piece| !piece.text.is_empty()).collect()
    };
    sections.map(full).collect()
}

#[test]
fn weights_are_those_of_the_web_ui() {
    // JSON's numbers are read to the last digit but one.
    let rounded = |mut sections: Vec<Vec<Piece>>| {
        let pieces = sections.iter_mut().flatten();
        pieces.for_each(|piece| piece.weight = (piece.weight * 1e12).round() / 1e12);
        sections
    };
    for Case { prompt, weights, .. } in cases() {
        assert_eq!(rounded(sections(&prompt).unwrap()), rounded(webuis(&weights)), "{prompt:?}");
    }
}

#[test]
fn texts_change_at_the_steps_of_the_web_ui() {
    let (mut changing, mut refused) = (0, 0);
    for Case { prompt, stages, .. } in cases() {
        let found = Prompt::positive(&prompt, 10);
        let text = |text: &str| [(10, text.to_string())].to_vec();
        // Where the web UI changes nothing, a prompt that would change is refused.
        let Ok(mut found) = found else {
            assert_eq!(stages, None, "{prompt:?}: {found:?}");
            refused += 1;
            continue;
        };
        let found = found.parts.swap_remove(0).stages.into_iter();
        let found: Vec<_> = found.map(|stage| (stage.until, stage.text)).collect();
        let expected = stages.unwrap_or_else(|| text(&prompt));
        changing += usize::from(expected.len() > 1);
        assert_eq!(found, expected, "{prompt:?}");
    }
    assert!(changing > 50 && refused > 20, "{changing} {refused}");
}

#[test]
fn and_joins_parts_and_their_weights() {
    let parts = |prompt: &str| -> Vec<(String, f64)> {
        let parts = Prompt::positive(prompt, 10).unwrap().parts.into_iter();
        parts.map(|mut part| (part.stages.swap_remove(0).text, part.weight)).collect()
    };
    let s = String::from;
    assert_eq!(parts("a cat"), [(s("a cat"), 1.0)]);
    // Without AND the end of a prompt is text.
    assert_eq!(parts("red:1.4"), [(s("red:1.4"), 1.0)]);
    let both = parts("a cat :1.2 AND a dog AND a penguin: -2.");
    assert_eq!(both, [(s("a cat"), 1.2), (s(" a dog"), 1.0), (s(" a penguin"), -2.0)]);
    assert_eq!(parts("LAND AND (SAND:2)"), [(s("LAND"), 1.0), (s(" (SAND:2)"), 1.0)]);
    let changing = Prompt::positive("[a:b:2] AND c", 4).unwrap().parts.swap_remove(0);
    let stage = |until, text: &str| Stage { until, text: text.into() };
    let stages = vec![stage(2, "a"), stage(4, "b")];
    assert_eq!(changing, Part { weight: 1.0, stages });
    // The web UI counts calls from 0 and stages from 1.
    let at: Vec<_> = (0..4).map(|call| changing.stage(call)).collect();
    assert_eq!(at, [0, 0, 0, 1]);
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let positive = |prompt: &str| Prompt::positive(prompt, 10).unwrap_err().to_string();
    let negative = |prompt: &str| Prompt::negative(prompt, 10).unwrap_err().to_string();
    let network = "prompt: has <lora:style:0.8>, which is not read here";
    assert_eq!(positive("a <lora:style:0.8> cat"), network);
    assert_eq!(
        negative("<hypernet:x>"),
        "negative prompt: has <hypernet:x>, which is not read here"
    );
    assert!(negative("a AND b").starts_with("negative prompt: has AND"));
    assert!(positive("(a AND b:1.2)").starts_with("prompt: has AND in brackets"));
    for prompt in ["[a|b:0.5]", "[a:b:0.5] | c", "[a:b:0.5] \\"] {
        assert!(positive(prompt).starts_with("prompt: has a stray "), "{prompt}");
    }
    let deep = format!("{}a{}", "[".repeat(101), "]".repeat(101));
    assert_eq!(positive(&deep), "prompt: has brackets that are nested more than 100 deep");
    assert!(Prompt::positive(&deep[1..deep.len() - 1], 10).is_ok());
    // Neither is a mistake.
    assert!(Prompt::positive("a <b> <|c|> a < b: c > [d", 10).is_ok());
}

#[test]
fn a_break_begins_a_chunk() {
    let tokenizer = Tokenizer::read(&folder("tokenizer")).unwrap();
    let [a, red] = tokenizer.tokens("a red").unwrap()[..] else { panic!("two tokens") };
    let (begin, end) = (tokenizer.begin(), tokenizer.end());
    let tokens = |prompt| -> Vec<Vec<usize>> {
        let chunks = chunks(&tokenizer, prompt, 4, 1, BACKTRACK).unwrap();
        chunks.into_iter().map(|chunk| chunk.tokens).collect()
    };
    assert_eq!(tokens("a BREAK red"), [[begin, a, end, end], [begin, red, end, end]]);
    assert_eq!(tokens("a a a BREAK red").len(), 3);
    // As in the web UI an empty part is a chunk, but for one at the end.
    assert_eq!(tokens("a BREAK BREAK red")[1], [begin, end, end, end]);
    assert_eq!(tokens("BREAK a")[0], [begin, end, end, end]);
    assert_eq!(tokens("a BREAK"), tokens("a"));
    assert!(chunks(&tokenizer, &"BREAK ".repeat(200), 4, 1, BACKTRACK).is_err());
}

#[derive(Deserialize)]
struct Long {
    prompt: String,
    backtrack: usize,
    lengths: Vec<usize>,
}

#[test]
fn a_full_chunk_ends_behind_a_comma() {
    let tokenizer = Tokenizer::read(&folder("tokenizer")).unwrap();
    let cases: Vec<Long> =
        serde_json::from_str(&fs::read_to_string(folder("chunks.json")).unwrap()).unwrap();
    let mut moved = 0;
    for Long { prompt, backtrack, lengths } in cases {
        let cut = |backtrack| -> Vec<usize> {
            let chunks = chunks(&tokenizer, &prompt, 77, 1, backtrack).unwrap().into_iter();
            let length =
                |tokens: Vec<usize>| tokens.iter().skip(1).position(|it| *it == tokenizer.end());
            chunks.map(|chunk| length(chunk.tokens).unwrap()).collect()
        };
        assert_eq!(cut(backtrack), lengths, "{backtrack} {prompt}");
        moved += usize::from(cut(0) != lengths);
    }
    assert!(moved > 25, "{moved}");
}

#[test]
fn what_changes_and_what_is_joined_reaches_the_model() {
    let device = Device::default();
    let folder = pipeline_folder("sd");
    let pipeline = Pipeline::read(folder.path(), &device, DType::F32).unwrap();
    let expected = Expected::open("sd/prompts.safetensors");
    for (name, prompt, negative) in [
        ("switch", "a [red:blue:0.5] lily", "blurry"),
        ("turns", "a [red|blue|green] lily", "[dark|bright]"),
        ("and", "a red lily :1.3 AND rain : -0.4 AND [best:worst:2] quality", "blurry"),
        ("break", "a red lily BREAK (rain:1.3)", "blurry BREAK dark"),
    ] {
        let request = Request {
            prompt: prompt.into(),
            negative: Some(negative.into()),
            scheduler: Some("ddim".into()),
            steps: 6,
            noise: vec![formula::tensor("pipeline noise", [1, 4, 8, 6], &device)],
            ..Request::default()
        };
        let latents = pipeline.generate(&request, &mut |_, _| ()).unwrap().latents;
        let off = expected.check(name, latents, 1e-3);
        println!("{name}: {off:.1e}");
    }
}

#[test]
fn the_negative_prompt_may_skip_layers_too() {
    let device = Device::default();
    let folder = pipeline_folder("sd");
    let pipeline = Pipeline::read(folder.path(), &device, DType::F32).unwrap();
    let expected = Expected::open("sd/prompts.safetensors");
    for (name, negative_clip_skip) in [("skip one", 0), ("skip both", 1)] {
        let request = Request {
            prompt: "a red lily".into(),
            negative: Some("blurry".into()),
            scheduler: Some("ddim".into()),
            steps: 6,
            clip_skip: 1,
            negative_clip_skip,
            noise: vec![formula::tensor("pipeline noise", [1, 4, 8, 6], &device)],
            ..Request::default()
        };
        let latents = pipeline.generate(&request, &mut |_, _| ()).unwrap().latents;
        expected.check(name, latents, 1e-3);
    }
}
