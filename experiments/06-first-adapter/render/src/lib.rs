//! Drawing an icon of a set of Iconify.

use anyhow::{Context, Result};
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree},
};
use serde_json::Value;

/// An icon of a set (`icons.json`), scaled to a square of `side` pixels, on nothing.
///
/// # Errors
/// When the set lacks it, or it is no SVG.
pub fn icon(set: &Value, name: &str, side: u32) -> Result<Pixmap> {
    let icon = set["icons"].get(name).context("is not in the set")?;
    let number = |key: &str, otherwise| {
        icon.get(key).or(set.get(key)).and_then(Value::as_f64).unwrap_or(otherwise)
    };
    let [left, top] = ["left", "top"].map(|key| number(key, 0.0));
    let [width, height] = ["width", "height"].map(|key| number(key, 16.0));
    let body = icon["body"].as_str().context("has no body")?;
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" \
         width=\"{width}\" height=\"{height}\" viewBox=\"{left} {top} {width} {height}\">{body}</svg>"
    );
    let tree = Tree::from_str(&svg, &Options::default())?;
    let mut pixmap = Pixmap::new(side, side).context("no side")?;
    let scale = side as f32 / width.max(height) as f32;
    let middle = |length: f64| (side as f32 - scale * length as f32) / 2.0;
    let place = Transform::from_row(scale, 0.0, 0.0, scale, middle(width), middle(height));
    resvg::render(&tree, place, &mut pixmap.as_mut());
    Ok(pixmap)
}
