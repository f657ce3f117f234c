//! What there is to say of folders of images before they are trained on: nothing is passed over in silence.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// What became of some files, other than what their folder may make one expect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Images that were turned as their cameras were held.
    Turned,
    /// Images with transparent parts, whose colours count as if they were opaque.
    Transparent,
    /// Images in a format that has no decoder here.
    NoDecoder,
    /// Texts of which another image file, or none, has the name.
    NoImage,
    /// Texts of images that have another caption.
    OtherCaption,
    /// Files of other kinds.
    OtherFile,
    /// Folders of which images have no part.
    Folder,
    /// Folders that count no times by their name.
    ZeroTimes,
    /// Files of the cache that are none of its entries, or not as they were written.
    NoEntry,
    /// A concept's folder that is called `N_name` itself.
    OwnName(usize),
    /// Text files of which lines are dropped.
    Lines,
    /// Captions that are longer than the text encoder takes.
    Cut(usize),
}

/// How many files it became of, and the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    first: PathBuf,
    count: usize,
    /// Lines that are dropped of them, or images that are passed over in them.
    dropped: usize,
}

/// What became of files, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes(BTreeMap<Kind, Files>);

impl Notes {
    /// Takes note of a file.
    pub fn add(&mut self, kind: Kind, path: &Path) {
        self.add_dropped(kind, path, 0);
    }

    /// Takes note of a file of which so many lines are dropped, or of a folder of which so many images are.
    pub fn add_dropped(&mut self, kind: Kind, path: &Path, dropped: usize) {
        let none = || Files { first: path.into(), count: 0, dropped: 0 };
        let files = self.0.entry(kind).or_insert_with(none);
        files.count += 1;
        files.dropped += dropped;
    }

    /// A sentence for each kind.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(kind, files)| Note(kind, files).to_string()).collect()
    }
}

/// `2 images are ...: a.png and 1 more`.
struct Note<'a>(&'a Kind, &'a Files);

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(kind, Files { first, count, dropped }) = self;
        let (what, one, several, more) = match kind {
            Kind::Turned => ("image", "is", "are", "turned as EXIF says that the camera was held"),
            Kind::Transparent => (
                "image",
                "has",
                "have",
                "transparent parts, which count as opaque; set data.backgrounds",
            ),
            Kind::NoDecoder => {
                ("image", "is", "are", "passed over: no decoder; save as PNG, JPEG or WebP")
            }
            Kind::NoImage => ("text", "is", "are", "passed over: no image has the name"),
            Kind::OtherCaption => {
                ("text", "is", "are", "passed over: the image has another caption")
            }
            Kind::OtherFile => ("file", "is", "are", "passed over: neither image nor caption"),
            Kind::Folder => {
                let why = "passed over: folders named as 10_cat are read, and those of concepts";
                ("folder", "is", "are", why)
            }
            Kind::ZeroTimes => ("folder", "is", "are", "passed over: the name counts them 0 times"),
            Kind::NoEntry => {
                let why = "not as the cache wrote it: left alone, and computed anew";
                ("file", "is", "are", why)
            }
            Kind::OwnName(_) => {
                ("folder", "has", "have", "a number in its name that does not count")
            }
            Kind::Lines => ("caption", "is", "are", "the first line of a file"),
            Kind::Cut(_) => ("caption", "is", "are", "cut"),
        };
        let s = |number: usize| if number == 1 { "" } else { "s" };
        let mut subjects = *count;
        if matches!(kind, Kind::Folder | Kind::ZeroTimes) {
            subjects = *dropped;
            write!(f, "{dropped} image{} in ", s(*dropped))?;
        }
        let verb = if subjects == 1 { one } else { several };
        write!(f, "{count} {what}{} {verb} {more}", s(*count))?;
        match kind {
            Kind::OwnName(times) => write!(f, ": set repeats = {times}")?,
            Kind::Lines => {
                write!(f, ", {dropped} more dropped; captions.wildcards takes any of them")?
            }
            Kind::Cut(tokens) => write!(f, " at {tokens} tokens; raise data.chunks")?,
            _ => {}
        }
        write!(f, " ({}", first.display())?;
        if *count > 1 {
            write!(f, " and {} more", count - 1)?;
        }
        write!(f, ")")
    }
}
