//! Draws the sheets of experiment 06 from icon sets of Iconify, and writes their captions and their vocabulary.
//!
//! ```text
//! render NOTO FLUENT OUT      both sets are icons.json; OUT is the folder of the experiment
//! ```
//!
//! `concepts.txt` names the icons: those above the empty line are drawn in both styles. What is transparent is white.

use std::{collections::BTreeSet, env, fs, path::Path};

use anyhow::{Context, Result};
use render::icon;
use resvg::tiny_skia::{Color, Pixmap, PixmapPaint, Transform};
use serde_json::{Value, json};

const SIDE: u32 = 32;
const COLUMNS: usize = 8;
const ENDS: [&str; 2] = ["<|startoftext|>", "<|endoftext|>"];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [noto, fluent, out] = &arguments[..] else { anyhow::bail!("usage: render NOTO FLUENT OUT") };
    let out = Path::new(out);
    let (both, first) = include_str!("../concepts.txt").split_once("\n\n").context("no empty line")?;
    let [both, first] = [both, first].map(|names| names.lines().collect::<Vec<_>>());
    sheet(noto, &[both.clone(), first.clone()].concat(), &out.join("noto"))?;
    sheet(fluent, &both, &out.join("fluent"))?;
    let tokenizer = tokenizer(&[both, first].concat());
    fs::write(out.join("base/tokenizer/tokenizer.json"), format!("{tokenizer:#}\n"))?;
    Ok(())
}

/// An icon's name as a caption.
fn caption(name: &str) -> String {
    name.replace('-', " ")
}

/// A sheet `folder/STYLE.png` of icons, row by row, and their captions `folder/STYLE.txt`, a line each.
fn sheet(set: &str, names: &[&str], folder: &Path) -> Result<()> {
    let set: Value = serde_json::from_str(&fs::read_to_string(set).context(set.to_string())?)?;
    let rows = names.len().div_ceil(COLUMNS) as u32;
    let mut sheet = Pixmap::new(COLUMNS as u32 * SIDE, rows * SIDE).context("no images")?;
    sheet.fill(Color::WHITE);
    for (index, name) in names.iter().enumerate() {
        let (x, y) = ((index % COLUMNS) as i32, (index / COLUMNS) as i32);
        let icon = icon(&set, name, SIDE).with_context(|| format!("{name}"))?;
        let side = SIDE as i32;
        let paint = PixmapPaint::default();
        sheet.draw_pixmap(x * side, y * side, icon.as_ref(), &paint, Transform::identity(), None);
    }
    let style = folder.file_name().context("no folder")?;
    fs::create_dir_all(folder)?;
    fs::write(folder.join(style).with_extension("png"), sheet.encode_png()?)?;
    let captions: Vec<String> = names.iter().map(|name| caption(name) + "\n").collect();
    fs::write(folder.join(style).with_extension("txt"), captions.concat())?;
    Ok(())
}

/// A tokenizer of the words of the captions, in the format of Hugging Face's `tokenizers`. It has no token for other words.
fn tokenizer(names: &[&str]) -> Value {
    let words: BTreeSet<&str> = names.iter().flat_map(|name| name.split('-')).collect();
    let vocabulary = ENDS.into_iter().chain(words).zip(0..);
    let vocabulary: serde_json::Map<String, Value> =
        vocabulary.map(|(word, id): (&str, i32)| (word.into(), id.into())).collect();
    let special = ENDS.iter().zip(0..).map(|(token, id)| {
        json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": special.collect::<Vec<_>>(),
        "normalizer": { "type": "Lowercase" },
        "pre_tokenizer": { "type": "WhitespaceSplit" },
        "post_processor": null,
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "" },
    })
}
