//! Which images a folder has, their captions, and what is wrong with either.
//!
//! Three layouts: images with a text file of the same name beside each; kohya's, folders `N_name` of such
//! images, which count `N` times and whose name is the caption of those that have none; and Hugging Face's
//! `metadata.jsonl`, a line `{"file_name": ..., "text": ...}` for each image. Small images may share a file, a
//! [sheet](Concept::sheet), whose text has a line for each.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use higanbana_diffusion::{ModelError, pipeline::Pixels};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Concept, Problem};
use crate::TrainError;

/// An image that can be learnt from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The file.
    pub path: PathBuf,
    /// Top and left of the image in its file, where that is a sheet.
    pub corner: Option<[usize; 2]>,
    /// SHA-256 of its bytes, and of its place in a sheet.
    pub hash: [u8; 32],
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// Its caption, as the file has it.
    pub caption: String,
    /// Which concept it belongs to.
    pub concept: usize,
    /// How often it counts in an epoch.
    pub repeats: usize,
}

impl Picture {
    /// Its pixels.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn pixels(&self) -> Result<Pixels, ModelError> {
        let whole = Pixels::read(&self.path)?;
        let Some([top, left]) = self.corner else { return Ok(whole) };
        let rows = whole.rgb.chunks(whole.size[1] * 3).skip(top).take(self.size[0]);
        let rgb = rows.flat_map(|row| &row[left * 3..][..self.size[1] * 3]).copied().collect();
        Ok(Pixels { size: self.size, rgb })
    }
}

/// The images of all concepts, in the order of their names, and those that cannot be used. Every image
/// is decoded once.
///
/// # Errors
/// When a folder cannot be read, or holds no image.
pub fn scan(concepts: &[Concept]) -> Result<(Vec<Picture>, Vec<Problem>), TrainError> {
    let (mut pictures, mut problems) = (Vec::new(), Vec::new());
    for (index, concept) in concepts.iter().enumerate() {
        let before = pictures.len() + problems.len();
        for place in places(concept)? {
            let found = place.read(index)?;
            pictures.extend(found.0);
            problems.extend(found.1);
        }
        if pictures.len() + problems.len() == before {
            let reason = "holds no PNG, JPEG or WebP, and no folder named as 10_cat that does";
            return Err(wrong(&concept.folder, reason));
        }
    }
    Ok((pictures, problems))
}

/// A folder of images itself.
struct Place {
    folder: PathBuf,
    repeats: usize,
    caption: Option<String>,
    sheet: Option<usize>,
}

/// How often an image counts at most: more than that is a date, or a number of another kind.
pub const MOST_REPEATS: usize = 10_000;

/// A concept's folder, and kohya's folders inside, of which those that count 0 times have no part.
fn places(concept: &Concept) -> Result<Vec<Place>, TrainError> {
    let Concept { folder, repeats, caption, sheet, .. } = concept;
    let place = |folder: &Path, repeats, caption| Place {
        folder: folder.into(),
        repeats,
        caption,
        sheet: *sheet,
    };
    let mut places = vec![place(folder, *repeats, caption.clone())];
    for path in listing(folder)?.into_iter().filter(|path| path.is_dir()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((count, name)) = name.split_once('_') else { continue };
        let Ok(count) = count.parse::<usize>() else { continue };
        let caption = caption.clone().unwrap_or_else(|| name.into());
        match repeats.saturating_mul(count) {
            0 => {}
            count if count > MOST_REPEATS => {
                let reason = format!("counts {count} times by its name; {MOST_REPEATS} at most");
                return Err(wrong(&path, reason));
            }
            count => places.push(place(&path, count, Some(caption))),
        }
    }
    Ok(places)
}

impl Place {
    fn read(&self, concept: usize) -> Result<(Vec<Picture>, Vec<Problem>), TrainError> {
        let listed = listing(&self.folder)?;
        let table = self.folder.join("metadata.jsonl");
        let captions = if table.is_file() { Some(metadata(&table)?) } else { None };
        let mut paths: Vec<PathBuf> = listed.into_iter().filter(|path| is_image(path)).collect();
        // A line without its image is a problem of that image.
        paths.extend(captions.iter().flat_map(|table| table.keys().cloned()));
        paths.sort();
        paths.dedup();

        let (mut pictures, mut problems) = (Vec::new(), Vec::new());
        for path in paths {
            let found = self.caption(&path, captions.as_ref()).and_then(|caption| {
                let bytes = fs::read(&path).map_err(|error| format!("cannot be read ({error})"))?;
                let pixels = Pixels::decode(&path, &bytes).map_err(|error| {
                    let message = error.to_string();
                    let about = format!("{}: ", path.display());
                    message.strip_prefix(&about).unwrap_or(&message).to_string()
                })?;
                let whole = Picture {
                    path: path.clone(),
                    corner: None,
                    hash: Sha256::digest(&bytes).into(),
                    size: pixels.size,
                    caption,
                    concept,
                    repeats: self.repeats,
                };
                self.sheet.map_or(Ok(vec![whole.clone()]), |side| cut(&whole, side))
            });
            match found {
                Ok(found) => pictures.extend(found),
                Err(reason) => problems.push(Problem { path, reason }),
            }
        }
        Ok((pictures, problems))
    }

    /// The caption of an image, or why it has none.
    fn caption(
        &self,
        path: &Path,
        table: Option<&BTreeMap<PathBuf, String>>,
    ) -> Result<String, String> {
        if let Some(caption) = table.and_then(|table| table.get(path)) {
            return Ok(caption.clone());
        }
        let text = path.with_extension("txt");
        match fs::read(&text) {
            Ok(bytes) => String::from_utf8(bytes)
                .map(|text| text.trim_start_matches('\u{feff}').trim().into())
                .map_err(|_| format!("its caption {} is not UTF-8", text.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.caption.clone().ok_or_else(|| {
                    format!("has no caption: write {} or give its concept one", text.display())
                })
            }
            Err(error) => Err(format!("its caption {} cannot be read ({error})", text.display())),
        }
    }
}

/// The images of a sheet, row by row; or why it is none.
fn cut(sheet: &Picture, side: usize) -> Result<Vec<Picture>, String> {
    let [height, width] = sheet.size;
    if side == 0 || !height.is_multiple_of(side) || !width.is_multiple_of(side) {
        return Err(format!("is {width}x{height}, which is no sheet of squares of {side}"));
    }
    let captions: Vec<&str> = sheet.caption.lines().map(str::trim).collect();
    let columns = width / side;
    let count = height / side * columns;
    if captions.len() != count {
        return Err(format!("has {count} squares of {side}, and captions {}", captions.len()));
    }
    let picture = |(index, caption): (usize, &str)| {
        let corner = [index / columns * side, index % columns * side];
        let hash = Sha256::new_with_prefix(sheet.hash);
        let place = [corner[0], corner[1], side].map(usize::to_le_bytes);
        Picture {
            corner: Some(corner),
            hash: hash.chain_update(place.concat()).finalize().into(),
            size: [side; 2],
            caption: caption.into(),
            ..sheet.clone()
        }
    };
    Ok(captions.into_iter().enumerate().map(picture).collect())
}

/// The paths and captions of a `metadata.jsonl`.
fn metadata(path: &Path) -> Result<BTreeMap<PathBuf, String>, TrainError> {
    let text = fs::read_to_string(path).map_err(|error| wrong(path, error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let entries = lines.map(|(number, line)| {
        let value: Result<Value, _> = serde_json::from_str(line);
        let field = |name: &str| Some(value.as_ref().ok()?.get(name)?.as_str()?.to_string());
        match (field("file_name"), field("text")) {
            (Some(file), Some(text)) => Ok((folder.join(file), text)),
            _ => {
                let what = r#"is not {"file_name": ..., "text": ...}"#;
                Err(wrong(path, format!("line {} {what}", number + 1)))
            }
        }
    });
    entries.collect()
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    // A link that leads nowhere is an image that cannot be read.
    !path.is_dir() && ["png", "jpg", "jpeg", "webp"].contains(&extension.as_str())
}

/// What a folder holds, by name, but for what is hidden.
fn listing(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let entries = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
    let mut entries = entries.map_err(|e| wrong(folder, format!("cannot be read ({e})")))?;
    let hidden =
        |path: &PathBuf| path.file_name().is_some_and(|it| it.to_string_lossy().starts_with('.'));
    entries.retain(|path| !hidden(path));
    entries.sort();
    Ok(entries)
}

fn wrong(path: &Path, reason: impl Into<String>) -> TrainError {
    TrainError::Data { path: path.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use higanbana_diffusion::pipeline::png;

    use super::*;

    #[test]
    fn a_sheet_is_its_images_row_by_row() {
        let folder = tempfile::tempdir().unwrap();
        // Two rows of two squares of 2 pixels, each of one grey.
        let grey = |x: usize, y: usize| (10 * (y / 2 * 2 + x / 2)) as u8;
        let rgb: Vec<u8> = (0..16).flat_map(|i| [grey(i % 4, i / 4); 3]).collect();
        fs::write(folder.path().join("s.png"), png([4, 4], &rgb, "").unwrap()).unwrap();
        fs::write(folder.path().join("s.txt"), "a\nb\n c \nd\n").unwrap();
        let concept = Concept {
            folder: folder.path().into(),
            repeats: 3,
            caption: None,
            captions: None,
            sheet: Some(2),
            flip: false,
            regularisation: false,
        };
        let (pictures, problems) = scan(std::slice::from_ref(&concept)).unwrap();
        assert!(problems.is_empty());
        let captions: Vec<&str> = pictures.iter().map(|picture| &*picture.caption).collect();
        assert_eq!(captions, ["a", "b", "c", "d"]);
        for (index, picture) in pictures.iter().enumerate() {
            let rgb = vec![10 * index as u8; 12];
            assert_eq!(picture.pixels().unwrap(), Pixels { size: [2, 2], rgb });
            assert_eq!((picture.size, picture.repeats), ([2, 2], 3));
        }
        assert!(pictures.windows(2).all(|pair| pair[0].hash != pair[1].hash));

        // One image of four pixels a side, from the same corner, is another image.
        fs::write(folder.path().join("s.txt"), "a").unwrap();
        let (whole, _) = scan(&[Concept { sheet: Some(4), ..concept }]).unwrap();
        assert_ne!(whole[0].hash, pictures[0].hash);
    }
}
