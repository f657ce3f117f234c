//! Draws the sheets of experiment 07 from icon sets of Iconify.
//!
//! ```text
//! render-customization MANIFEST PACKAGES OUT
//! ```
//!
//! `MANIFEST` has an image a line; `PACKAGES` holds the npm packages, unpacked, each in a folder of its
//! set's name. Every group of images becomes a folder with a sheet of squares, row by row, and a text with
//! a caption a line. An icon is drawn at twice the side and averaged over squares of two pixels, with its
//! colours multiplied by its alpha; what is transparent stays so.

use std::{collections::BTreeMap, env, fs, path::Path};

use anyhow::{Context, Result, bail};
use render::icon;
use resvg::tiny_skia::{Pixmap, PremultipliedColorU8};
use serde_json::Value;

const SIDE: u32 = 32;
const COLUMNS: usize = 64;

/// An image of the manifest.
struct Image<'a> {
    set: &'a str,
    icon: &'a str,
    caption: &'a str,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [manifest, packages, out] = &arguments[..] else {
        bail!("usage: render-customization MANIFEST PACKAGES OUT")
    };
    let manifest = fs::read_to_string(manifest)?;
    let mut groups = BTreeMap::<String, Vec<Image>>::new();
    for line in manifest.lines().skip(1) {
        let [split, task, set, _npm, icon, _hexcode, caption] =
            line.split('\t').collect::<Vec<_>>()[..]
        else {
            bail!("{line}: has not seven columns")
        };
        let group = folder(split, task, set);
        groups.entry(group).or_default().push(Image { set, icon, caption });
    }
    let mut sets = BTreeMap::<&str, Value>::new();
    for image in groups.values().flatten() {
        if !sets.contains_key(image.set) {
            let path = Path::new(packages).join(image.set).join("package/icons.json");
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            sets.insert(image.set, serde_json::from_str(&text)?);
        }
    }
    for (group, images) in &groups {
        sheet(&Path::new(out).join(group), images, &sets)?;
        println!("{group}: {}", images.len());
    }
    Ok(())
}

/// Where a group of images lies. OpenMoji's licence asks that what is made of it keeps it: its images lie
/// apart.
fn folder(split: &str, task: &str, set: &str) -> String {
    let task = task.replace(['/', '@'], "-");
    let name = if task == "base" { format!("{split}/{set}") } else { format!("{split}/{task}") };
    if set == "openmoji" { format!("openmoji/{name}") } else { name }
}

/// A sheet and its captions, of the folder's name.
fn sheet(folder: &Path, images: &[Image], sets: &BTreeMap<&str, Value>) -> Result<()> {
    let columns = COLUMNS.min(images.len());
    let rows = images.len().div_ceil(columns);
    let mut sheet = Pixmap::new(columns as u32 * SIDE, rows as u32 * SIDE).context("no images")?;
    for (index, Image { set, icon: name, .. }) in images.iter().enumerate() {
        let drawn = icon(&sets[set], name, 2 * SIDE).with_context(|| format!("{set}: {name}"))?;
        let (left, top) = ((index % columns) as u32 * SIDE, (index / columns) as u32 * SIDE);
        let width = sheet.width();
        for (y, x) in (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (y, x))) {
            sheet.pixels_mut()[((top + y) * width + left + x) as usize] = mean(&drawn, x, y);
        }
    }
    let name = folder.file_name().context("no folder")?;
    fs::create_dir_all(folder)?;
    fs::write(folder.join(name).with_extension("png"), sheet.encode_png()?)?;
    let captions: Vec<String> = images.iter().map(|image| format!("{}\n", image.caption)).collect();
    fs::write(folder.join(name).with_extension("txt"), captions.concat())?;
    Ok(())
}

/// The mean of four pixels, whose colours are multiplied by their alpha.
fn mean(drawn: &Pixmap, x: u32, y: u32) -> PremultipliedColorU8 {
    let four = [(0, 0), (1, 0), (0, 1), (1, 1)]
        .map(|(right, down)| drawn.pixel(2 * x + right, 2 * y + down).expect("it is inside"));
    let mean = |of: fn(PremultipliedColorU8) -> u8| {
        let sum: u16 = four.iter().map(|pixel| u16::from(of(*pixel))).sum();
        ((sum + 2) / 4) as u8
    };
    let red = mean(|pixel| pixel.red());
    let green = mean(|pixel| pixel.green());
    let blue = mean(|pixel| pixel.blue());
    let alpha = mean(|pixel| pixel.alpha());
    PremultipliedColorU8::from_rgba(red, green, blue, alpha).expect("no colour exceeds the alpha")
}
