//! From images to batches: latents, noise, times and texts.
//!
//! * `sample`: what a sample shows and says; `latents` and `texts`: both as the models take them;
//! * `batch`: samples with noise, and what the model is to tell.

mod batch;
mod latents;
mod sample;
mod texts;

use std::path::PathBuf;

use higanbana_diffusion::{Pipeline, VaeConfig, pipeline::ImageFile};

use crate::{
    TrainError,
    data::{
        Cache, Captions, Concept, Data, Order, Picture, Problem,
        bucket::{Fit, cover},
        cache,
        folder::{Found, scan},
        notes::{Kind, Notes},
    },
};

pub use sample::Draw;

/// Images with everything that a batch of them needs.
#[derive(Debug)]
pub struct Feed {
    /// The images.
    pub pictures: Vec<Picture>,
    /// How each lies in its bucket.
    pub fits: Vec<Fit>,
    /// Those that are left out, and why.
    pub left_out: Vec<Problem>,
    /// What else there is to say of the folders.
    pub notes: Notes,
    concepts: Vec<Concept>,
    data: Data,
    cache: Cache,
    /// The file that was read last.
    open: Option<(PathBuf, ImageFile)>,
    /// What latents and texts follow from, besides the image or the text.
    vae: [u8; 32],
    text: [u8; 32],
}

impl Feed {
    /// Reads the images of a recipe.
    ///
    /// # Errors
    /// When a folder cannot be read, no image is left, or, unless `skip_bad`, one cannot be used: all of
    /// them are listed.
    pub fn new(data: &Data, concepts: &[Concept], skip_bad: bool) -> Result<Self, TrainError> {
        let Found { pictures, problems: left_out, mut notes } = scan(data, concepts)?;
        if !left_out.is_empty() && (!skip_bad || pictures.is_empty()) {
            return Err(TrainError::Problems(left_out));
        }
        if data.backgrounds.is_none() && !data.alpha_mask {
            let transparent = pictures.iter().filter(|picture| picture.transparent);
            transparent.for_each(|picture| notes.add(Kind::Transparent, &picture.path));
        }
        let fit = |picture: &Picture| {
            let [height, width] = picture.size;
            match &data.buckets {
                Some(buckets) => buckets.fit([width, height], data.resolution),
                None => cover([width, height], data.resolution.size()),
            }
        };
        Ok(Self {
            fits: pictures.iter().map(fit).collect(),
            pictures,
            left_out,
            notes,
            concepts: concepts.to_vec(),
            data: data.clone(),
            cache: Cache::new(data.cache.as_deref())?,
            open: None,
            vae: [0; 32],
            text: [0; 32],
        })
    }

    /// Makes the latents of all images; texts are made when they are first seen. `tell` is told of each
    /// image.
    ///
    /// # Errors
    /// When an image does not suit the autoencoder, a caption the text encoders, or a file cannot be
    /// written.
    pub fn prepare(
        &mut self,
        pipeline: &Pipeline,
        tell: &mut dyn FnMut(&str, usize),
    ) -> Result<(), TrainError> {
        if self.data.cache.is_some() {
            self.vae = pipeline.vae.as_ref().map_or([0; 32], |vae| {
                // Latents are kept as they are before that.
                cache::model(vae, &VaeConfig { scaling: 1.0, ..vae.config().clone() })
            });
            let encoders =
                pipeline.encoders.iter().map(|it| cache::model(&it.model, it.model.config()));
            let tokens = pipeline.encoders.iter().flat_map(|it| it.tokenizer.learnt());
            let tokens = tokens.map(|token| cache::key(&[format!("{token:?}").as_bytes()]));
            self.text = cache::key(&[&encoders.chain(tokens).collect::<Vec<_>>().concat()]);
        }
        self.texts(&[String::new()], pipeline, None)
            .map_err(|error| TrainError::recipe("RUN.toml", format!("data: {error}")))?;
        let count = self.pictures.len();
        let factor = pipeline.factor();
        for index in 0..count {
            let (picture, [w, h]) = (&self.pictures[index], self.fits[index].bucket);
            if w.min(h) < factor {
                let reason =
                    format!("is {w}x{h} in its bucket; {factor} pixels are one of latents");
                return Err(TrainError::Data { path: picture.path.clone(), reason });
            }
            self.check_texts(index, pipeline)?;
            tell("latents", count);
            for shown in self.shown(index) {
                self.latents(&shown, pipeline)?;
            }
        }
        self.open = None;
        self.cache.strange().iter().for_each(|path| self.notes.add(Kind::NoEntry, path));
        Ok(())
    }

    /// The order of samples: those of regularisation as often as all others together.
    pub fn order(&self, seed: u64, batch: usize) -> Order {
        let regular = |index: &usize| self.is_regular(*index);
        let (regular, trained): (Vec<usize>, Vec<usize>) =
            (0..self.pictures.len()).partition(regular);
        let repeated = |indices: Vec<usize>| -> Vec<usize> {
            let each = |index: &usize| vec![*index; self.pictures[*index].repeats];
            indices.iter().flat_map(each).collect()
        };
        let mut samples = repeated(trained);
        let regular = repeated(regular);
        let count = if regular.is_empty() { 0 } else { samples.len() };
        samples.extend(regular.into_iter().cycle().take(count));
        let mut shapes = std::collections::BTreeMap::<[usize; 2], Vec<usize>>::new();
        for sample in samples {
            shapes.entry(self.fits[sample].bucket).or_default().push(sample);
        }
        Order::new(seed, batch, shapes.into_values().collect())
    }

    /// Whether a caption holds a token that the pipeline has learnt.
    pub fn says(&self, token: &str, pipeline: &Pipeline) -> bool {
        let mut texts = (0..self.pictures.len()).flat_map(|index| self.texts_of(index));
        texts.any(|text| pipeline.holds(&text, token))
    }

    /// How the caption of an image becomes a text.
    fn captions(&self, index: usize) -> &Captions {
        self.concepts[self.pictures[index].concept].captions(&self.data)
    }

    /// SHA-256 of what a training sees of the images: what they are, what they are called, how often each
    /// counts.
    pub fn identity(&self) -> [u8; 32] {
        let each = self
            .pictures
            .iter()
            .map(|it| cache::key(&[&it.hash, it.caption.as_bytes(), &it.repeats.to_le_bytes()]));
        cache::key(&[&each.collect::<Vec<_>>().concat()])
    }

    /// Whether an image is one of regularisation.
    pub fn is_regular(&self, index: usize) -> bool {
        self.concepts[self.pictures[index].concept].regularisation
    }
}
