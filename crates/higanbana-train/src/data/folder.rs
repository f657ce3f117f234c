//! Which images a folder has, their captions, and what is wrong with either.
//!
//! Three layouts: images with a text file of the same name beside each; kohya's, folders `N_name` of such
//! images, which count `N` times and whose name is the caption of those that have none; and Hugging Face's
//! `metadata.jsonl`, a line `{"file_name": ..., "text": ...}` for each image. Small images may share a file, a
//! [sheet](Concept::sheet), whose text has a line for each.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use higanbana_diffusion::pipeline::{EXTENSIONS, ImageFile};
use sha2::{Digest, Sha256};

use super::{
    Concept, Data, Picture, Problem, caption,
    notes::{Kind, Notes},
    texts::{self, Texts},
};
use crate::TrainError;

/// Extensions of images that have no decoder here.
const NO_DECODER: [&str; 12] =
    ["avif", "heic", "heif", "jxl", "jp2", "tga", "psd", "svg", "ico", "ppm", "qoi", "exr"];

/// What folders hold.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The images, in the order of their names.
    pub pictures: Vec<Picture>,
    /// Those that cannot be used.
    pub problems: Vec<Problem>,
    /// What else there is to say.
    pub notes: Notes,
}

/// The images of all concepts. Every image is decoded once.
///
/// # Errors
/// When a folder cannot be read, or holds no image.
pub fn scan(data: &Data, concepts: &[Concept]) -> Result<Found, TrainError> {
    let mut found = Found::default();
    for (index, concept) in concepts.iter().enumerate() {
        let before = found.pictures.len() + found.problems.len();
        let wildcards = concept.captions(data).wildcards;
        for place in places(concept, wildcards, &mut found.notes)? {
            place.read(index, &mut found)?;
        }
        if found.pictures.len() + found.problems.len() == before {
            let reason = "holds no image that can be read, and no folder named as 10_cat that does";
            let notes = found.notes.lines().into_iter();
            let reason = notes.fold(reason.to_string(), |reason, note| format!("{reason}; {note}"));
            return Err(wrong(&concept.folder, reason));
        }
    }
    Ok(found)
}

/// A folder of images itself.
struct Place {
    folder: PathBuf,
    repeats: usize,
    caption: Option<String>,
    sheet: Option<usize>,
    /// Whether one of several lines is taken.
    wildcards: bool,
    /// Folders inside that are places themselves.
    inner: Vec<PathBuf>,
}

/// How often an image counts at most: more than that is a date, or a number of another kind.
pub const MOST_REPEATS: usize = 10_000;

/// A concept's folder, and kohya's folders inside, of which those that count 0 times have no part.
fn places(concept: &Concept, wildcards: bool, notes: &mut Notes) -> Result<Vec<Place>, TrainError> {
    let Concept { folder, repeats, caption, sheet, .. } = concept;
    let place = |folder: &Path, repeats, caption| Place {
        folder: folder.into(),
        repeats,
        caption,
        sheet: *sheet,
        wildcards,
        inner: Vec::new(),
    };
    if let Some((own, _)) = numbered(folder).filter(|(own, _)| (1..=MOST_REPEATS).contains(own))
        && own != *repeats
    {
        notes.add(Kind::OwnName(own), folder);
    }
    let mut places = vec![place(folder, *repeats, caption.clone())];
    for path in listing(folder)?.into_iter().filter(|path| path.is_dir()) {
        let Some((count, name)) = numbered(&path) else { continue };
        let caption = caption.clone().or(Some(name));
        match repeats.saturating_mul(count) {
            0 => notes.add_dropped(Kind::ZeroTimes, &path, images(&path)?.len()),
            count if count > MOST_REPEATS => {
                let reason = format!("counts {count} times by its name; {MOST_REPEATS} at most");
                return Err(wrong(&path, reason));
            }
            count => places.push(place(&path, count, caption)),
        }
        places[0].inner.push(path);
    }
    Ok(places)
}

/// The number and the name in the name `10_cat` of a folder.
fn numbered(folder: &Path) -> Option<(usize, String)> {
    let name = folder.file_name()?.to_string_lossy();
    let (count, name) = name.split_once('_')?;
    Some((count.parse().ok()?, name.into()))
}

impl Place {
    fn read(&self, concept: usize, found: &mut Found) -> Result<(), TrainError> {
        let listed = listing(&self.folder)?;
        let table = self.folder.join("metadata.jsonl");
        let captions = if table.is_file() { Some(texts::table(&table)?) } else { None };
        let texts = Texts::among(listed.iter().filter(|path| !path.is_dir()));
        let mut paths: Vec<PathBuf> =
            listed.iter().filter(|path| is_image(path)).cloned().collect();
        // A line without its image is a problem of that image.
        paths.extend(captions.iter().flat_map(|table| table.keys().cloned()));
        paths.sort();
        paths.dedup();

        for path in listed.iter().filter(|path| !paths.contains(path) && **path != table) {
            let kind = match extension(path) {
                _ if path.is_dir() => {
                    self.pass_over(path, &paths, &mut found.notes)?;
                    continue;
                }
                _ if Texts::is_text(path) => continue,
                extension if NO_DECODER.contains(&&*extension) => Kind::NoDecoder,
                _ => Kind::OtherFile,
            };
            found.notes.add(kind, path);
        }
        let mut used = BTreeSet::new();
        for path in &paths {
            let listed = captions.as_ref().and_then(|table| table.get(path));
            let text = texts.of(path).filter(|_| listed.is_none());
            used.extend(text.cloned());
            let pictures = self
                .caption(path, listed, text, &mut found.notes)
                .and_then(|caption| self.pictures(path, caption, concept, &mut found.notes));
            match pictures {
                Ok(pictures) => found.pictures.extend(pictures),
                Err(reason) => found.problems.push(Problem { path: path.clone(), reason }),
            }
        }
        texts.passed_over(&paths, &used, &mut found.notes);
        Ok(())
    }

    /// Takes note of the images in a folder that is no place itself, but for those that are read: of this
    /// place, as a table may name some of a folder.
    fn pass_over(
        &self,
        folder: &PathBuf,
        read: &[PathBuf],
        notes: &mut Notes,
    ) -> Result<(), TrainError> {
        if self.inner.contains(folder) {
            return Ok(());
        }
        let left = images(folder)?.into_iter().filter(|image| !read.contains(image)).count();
        if left > 0 {
            notes.add_dropped(Kind::Folder, folder, left);
        }
        Ok(())
    }

    /// The images of a file: itself, or those of a sheet.
    fn pictures(
        &self,
        path: &Path,
        caption: String,
        concept: usize,
        notes: &mut Notes,
    ) -> Result<Vec<Picture>, String> {
        let bytes = fs::read(path).map_err(|error| format!("cannot be read ({error})"))?;
        let image = ImageFile::decode(path, &bytes).map_err(|error| {
            let message = error.to_string();
            let about = format!("{}: ", path.display());
            message.strip_prefix(&about).unwrap_or(&message).to_string()
        })?;
        let whole = Picture {
            path: path.into(),
            corner: None,
            hash: Sha256::digest(&bytes).into(),
            size: image.pixels.size,
            caption,
            transparent: false,
            concept,
            repeats: self.repeats,
        };
        let mut pictures = match self.sheet {
            None => vec![whole],
            Some(side) => whole.cut(side, &image)?,
        };
        pictures.iter_mut().for_each(|picture| picture.see(&image));
        if image.turned {
            notes.add(Kind::Turned, path);
        }
        Ok(pictures)
    }

    /// The caption of an image, or why it has none.
    fn caption(
        &self,
        path: &Path,
        listed: Option<&String>,
        text: Option<&PathBuf>,
        notes: &mut Notes,
    ) -> Result<String, String> {
        let (Some(file), None) = (text, listed) else {
            return listed.or(self.caption.as_ref()).cloned().ok_or_else(|| {
                let text = path.with_extension("txt");
                format!("has no caption: write {} or give its concept one", text.display())
            });
        };
        let text = texts::read(file)?;
        if self.sheet.is_some() || self.wildcards {
            return Ok(text);
        }
        let mut lines = caption::lines(&text);
        let first = lines.next().unwrap_or_default();
        match lines.count() {
            0 => {}
            dropped => notes.add_dropped(Kind::Lines, file, dropped),
        }
        Ok(first.into())
    }
}

/// The extension of a file, in small letters.
pub fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

fn is_image(path: &Path) -> bool {
    // A link that leads nowhere is an image that cannot be read.
    !path.is_dir() && EXTENSIONS.contains(&extension(path).as_str())
}

/// The images in a folder and those below, also of formats without a decoder. Links to folders are not
/// followed below: they may lead in a circle.
fn images(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let mut found = Vec::new();
    for path in listing(folder)? {
        match path.is_dir() {
            true if path.is_symlink() => {}
            true => found.extend(images(&path)?),
            false if is_image(&path) || NO_DECODER.contains(&&*extension(&path)) => {
                found.push(path)
            }
            false => {}
        }
    }
    Ok(found)
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

/// A fault of a folder or file.
pub fn wrong(path: &Path, reason: impl Into<String>) -> TrainError {
    TrainError::Data { path: path.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
