//! Images and their captions: from folders to the batch of a step.
//!
//! * [`folder`]: which images there are, and what is wrong with them; `texts`: their captions; [`notes`]:
//!   what else there is to say of them; [`picture`]: one of them;
//! * [`caption`]: from the text of a file to that of a sample; [`background`]: what lies behind it;
//! * [`bucket`]: shapes of batches; [`resample`]: an image in that shape;
//! * [`order`]: which images a batch has;
//! * [`cache`]: latents and text that need not be computed again.

pub mod background;
pub mod bucket;
pub mod cache;
pub mod caption;
pub mod folder;
pub mod notes;
pub mod order;
pub mod picture;
pub mod resample;
mod texts;

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use background::Backgrounds;
pub use bucket::Buckets;
pub use cache::Cache;
pub use caption::Captions;
pub use order::Order;
pub use picture::Picture;

/// What there is to learn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Width and height that the area of an image comes to; one number for a square.
    #[serde(default = "resolution")]
    pub resolution: Resolution,
    /// Batches of other shapes than that. Without, every image is cut to the resolution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<Buckets>,
    /// How captions become texts, where a concept says nothing else.
    #[serde(default)]
    pub captions: Captions,
    /// Colours behind the transparent parts of images, one drawn for each sample. Without, those parts
    /// have the colours that their files hide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backgrounds: Option<Backgrounds>,
    /// Whether the loss of each place counts as far as the image is opaque there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alpha_mask: bool,
    /// Pieces of 75 tokens that a caption may have; what is longer is cut off, and said to be.
    #[serde(default = "one")]
    pub chunks: usize,
    /// Layers of the text encoder to leave out, as diffusers counts: 1 is the web UIs' 2.
    #[serde(default)]
    pub clip_skip: usize,
    /// A folder to keep latents and texts in, for other runs too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
    /// Folders of images.
    pub concepts: Vec<Concept>,
}

/// Images of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concept {
    /// The folder; kohya's `N_name` folders inside it count too, `N` times. Its own name, and other folders
    /// inside, have no part.
    pub folder: PathBuf,
    /// How often each image counts in an epoch.
    #[serde(default = "one")]
    pub repeats: usize,
    /// The caption of images that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// How captions become texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captions: Option<Captions>,
    /// Each file is a sheet of square images, of as many pixels a side, row by row; its text then has a
    /// line for each, but for blank squares at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<usize>,
    /// Shows half of the samples mirrored.
    #[serde(default)]
    pub flip: bool,
    /// Shows another part of an image that is larger than its bucket in each sample, instead of the
    /// middle. Its latents are made anew each time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub random_crop: bool,
    /// Images of the class, which the model is to keep: as many samples as all others together, each
    /// weighted with `objective.prior_weight`.
    #[serde(default)]
    pub regularisation: bool,
}

impl Concept {
    /// How its captions become texts.
    pub fn captions<'a>(&'a self, data: &'a Data) -> &'a Captions {
        self.captions.as_ref().unwrap_or(&data.captions)
    }
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "give a side, or width and height")]
pub enum Resolution {
    /// A square.
    Side(usize),
    /// Width and height.
    Size([usize; 2]),
}

impl Resolution {
    /// Width and height.
    pub fn size(self) -> [usize; 2] {
        match self {
            Self::Side(side) => [side, side],
            Self::Size(size) => size,
        }
    }
}

fn resolution() -> Resolution {
    Resolution::Side(512)
}

fn one() -> usize {
    1
}

/// An image that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file.
    #[serde(serialize_with = "higanbana_io::lossy::path")]
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}
