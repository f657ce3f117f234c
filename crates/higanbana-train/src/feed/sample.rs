//! What a sample shows and says: everything that is drawn of it but its noise.

use rand::RngExt;

use super::Feed;
use crate::{data::bucket::View, random::stream, task::Task};

/// What the draws of a batch follow from.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the first sample of the batch; the others follow.
    pub first: u64,
    /// Whether captions are taken as they are, nothing is mirrored, the middle is seen, and the
    /// background is the first.
    pub plain: bool,
}

impl Draw {
    /// The times of a batch of `count` samples.
    pub fn times(&self, count: usize, task: &Task) -> Vec<usize> {
        let [from, to] = task.objective.times.unwrap_or([0, task.schedule.len()]);
        let numbers = self.first..self.first + count as u64;
        numbers.map(|number| stream(self.seed, "time", number).random_range(from..to)).collect()
    }
}

/// What a sample shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    /// The image.
    pub index: usize,
    /// Its part.
    pub view: View,
    /// Which colour is behind its transparent parts.
    pub background: Option<usize>,
}

impl Feed {
    /// What a sample of an image shows; `mirrored` is a draw of its own.
    pub(super) fn drawn(&self, index: usize, number: u64, draw: Draw, mirrored: bool) -> Shown {
        let (picture, concept) =
            (&self.pictures[index], &self.concepts[self.pictures[index].concept]);
        let mut view = self.fits[index].middle(mirrored && concept.flip && !draw.plain);
        if concept.random_crop && !draw.plain {
            let mut rng = stream(draw.seed, "crop", number);
            view.corner = view.fit.room().map(|room| rng.random_range(0..=room));
        }
        let backgrounds = self.data.backgrounds.as_ref().filter(|_| picture.transparent);
        let background =
            backgrounds.map(|it| if draw.plain { 0 } else { it.draw(draw.seed, number) });
        Shown { index, view, background }
    }

    /// All that an image may show, where that does not change with every sample.
    pub(super) fn shown(&self, index: usize) -> Vec<Shown> {
        let (picture, concept) =
            (&self.pictures[index], &self.concepts[self.pictures[index].concept]);
        if concept.random_crop {
            return Vec::new();
        }
        let backgrounds = self.data.backgrounds.as_ref().filter(|_| picture.transparent);
        let backgrounds = match backgrounds {
            Some(backgrounds) => (0..backgrounds.colours.len()).map(Some).collect(),
            None => vec![None],
        };
        let mirrored: &[bool] = if concept.flip { &[false, true] } else { &[false] };
        let fit = self.fits[index];
        let views = mirrored.iter().map(|mirrored| fit.middle(*mirrored));
        views
            .flat_map(|view| {
                backgrounds.iter().map(move |it| Shown { index, view, background: *it })
            })
            .collect()
    }

    /// What a sample says.
    pub(super) fn said(&self, shown: &Shown, number: u64, draw: Draw) -> String {
        let caption = &self.pictures[shown.index].caption;
        let captions = self.captions(shown.index);
        let text = match draw.plain {
            true => Some(captions.plain(caption).to_string()),
            false => captions.drawn(caption, draw.seed, number),
        };
        // Where there is to be no text, none tells of the background either.
        text.map(|text| self.with_background(text, shown.background)).unwrap_or_default()
    }

    /// The texts that an image may have, but for what is dropped and shuffled.
    pub fn texts_of(&self, index: usize) -> Vec<String> {
        let texts = self.captions(index).texts(&self.pictures[index].caption);
        let backgrounds = self.data.backgrounds.as_ref();
        let Some(backgrounds) = backgrounds.filter(|_| self.pictures[index].transparent) else {
            return texts;
        };
        let each = |text: String| {
            let colours = 0..backgrounds.colours.len();
            colours.map(move |it| backgrounds.said(&text, it)).collect::<Vec<_>>()
        };
        texts.into_iter().flat_map(each).collect()
    }

    fn with_background(&self, text: String, background: Option<usize>) -> String {
        match (&self.data.backgrounds, background) {
            (Some(backgrounds), Some(background)) => backgrounds.said(&text, background),
            _ => text,
        }
    }
}
