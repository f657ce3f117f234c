//! The captions of a folder: text files beside the images, or a `metadata.jsonl`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    folder::{extension, wrong},
    notes::{Kind, Notes},
};
use crate::TrainError;

/// Extensions of the texts of images, the first one first.
const EXTENSIONS: [&str; 2] = ["txt", "caption"];

/// The text files of a folder, by their names without extension.
pub struct Texts(BTreeMap<OsString, Vec<PathBuf>>);

impl Texts {
    /// Those among some files.
    pub fn among<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let mut texts = BTreeMap::<OsString, Vec<PathBuf>>::new();
        for path in files.into_iter().filter(|path| Self::is_text(path)) {
            texts
                .entry(path.file_stem().unwrap_or_default().into())
                .or_default()
                .push(path.clone());
        }
        let rank = |path: &PathBuf| EXTENSIONS.iter().position(|it| *it == extension(path));
        texts.values_mut().for_each(|paths| paths.sort_by_key(rank));
        Self(texts)
    }

    /// Whether a file is a text by its name.
    pub fn is_text(path: &Path) -> bool {
        EXTENSIONS.contains(&extension(path).as_str())
    }

    /// The text of an image `x.png`: `x.txt`, or else `x.caption`, `x.png.txt` or `x.png.caption`.
    pub fn of(&self, image: &Path) -> Option<&PathBuf> {
        names(image).into_iter().find_map(|name| self.0.get(name)?.first())
    }

    /// Takes note of the texts that are of no image, or not the one that is used.
    pub fn passed_over<'a>(
        &self,
        images: impl IntoIterator<Item = &'a PathBuf>,
        used: &BTreeSet<PathBuf>,
        notes: &mut Notes,
    ) {
        let named: BTreeSet<&OsStr> = images.into_iter().flat_map(|image| names(image)).collect();
        for (name, paths) in &self.0 {
            let kind = if named.contains(&**name) { Kind::OtherCaption } else { Kind::NoImage };
            paths
                .iter()
                .filter(|path| !used.contains(*path))
                .for_each(|path| notes.add(kind.clone(), path));
        }
    }
}

/// What the text of an image may be called, but for its extension.
fn names(image: &Path) -> [&OsStr; 2] {
    [image.file_stem(), image.file_name()].map(Option::unwrap_or_default)
}

/// The text in a file.
pub fn read(path: &Path) -> Result<String, String> {
    let caption = || format!("its caption {}", path.display());
    let bytes =
        fs::read(path).map_err(|error| format!("{} cannot be read ({error})", caption()))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", caption()))?;
    checked(text.trim_start_matches('\u{feff}')).map_err(|reason| format!("{} {reason}", caption()))
}

/// A text that is one, without the white space around it.
fn checked(text: &str) -> Result<String, &'static str> {
    match text.contains('\0') {
        true => Err("has NUL characters, as UTF-16 has; save it as UTF-8"),
        false => Ok(text.trim().into()),
    }
}

/// The paths and captions of a `metadata.jsonl`.
pub fn table(path: &Path) -> Result<BTreeMap<PathBuf, String>, TrainError> {
    let text = fs::read_to_string(path).map_err(|error| wrong(path, error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let entries = lines.map(|(number, line)| {
        let value: Result<Value, _> = serde_json::from_str(line);
        let field = |name: &str| Some(value.as_ref().ok()?.get(name)?.as_str()?.to_string());
        let wrong = |what: &str| wrong(path, format!("line {} {what}", number + 1));
        match (field("file_name"), field("text")) {
            (Some(file), Some(text)) => Ok((folder.join(file), checked(&text).map_err(wrong)?)),
            _ => Err(wrong(r#"is not {"file_name": ..., "text": ...}"#)),
        }
    });
    entries.collect()
}
