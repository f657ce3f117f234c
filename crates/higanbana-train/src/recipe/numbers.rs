//! What the numbers of a recipe have to be.

use std::fmt;

use self::Must::{BelowOne, Count, NotNegative, Positive, Share};
use super::Recipe;
use crate::data::{Captions, Concept, folder::MOST_REPEATS};

/// What single precision holds.
const MOST: f64 = 3e38;
/// Names of checkpoints have eight digits.
pub(crate) const MOST_STEPS: usize = 99_999_999;
/// Pixels of a side.
const MOST_PIXELS: usize = 1 << 14;

/// Tokens between the begin and the end of a text.
const MOST_VECTORS: usize = 75;

/// What a number has to be.
#[derive(Clone, Copy)]
enum Must {
    Positive,
    NotNegative,
    Share,
    BelowOne,
    /// From 1 to that.
    Count(usize),
}

impl Must {
    fn allows(self, x: f64) -> bool {
        match self {
            Self::Positive => x > 0.0 && x <= MOST,
            Self::NotNegative => (0.0..=MOST).contains(&x),
            Self::Share => (0.0..=1.0).contains(&x),
            Self::BelowOne => (0.0..1.0).contains(&x),
            Self::Count(most) => (1.0..=most as f64).contains(&x),
        }
    }
}

impl fmt::Display for Must {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Positive => write!(f, "a number above 0, {MOST:.0e} at most"),
            Self::NotNegative => write!(f, "a number from 0 to {MOST:.0e}"),
            Self::Share => write!(f, "a number from 0 to 1"),
            Self::BelowOne => write!(f, "a number from 0 to below 1, such as 0.999"),
            Self::Count(most) => write!(f, "1 to {most}"),
        }
    }
}

/// Numbers by their keys.
#[derive(Default)]
struct Numbers(Vec<(String, f64, Must)>);

impl Numbers {
    fn real(&mut self, key: &str, x: impl Into<Option<f64>>, must: Must) {
        self.0.extend(x.into().map(|x| (key.to_string(), x, must)));
    }

    fn count(&mut self, key: &str, x: impl Into<Option<usize>>, most: usize) {
        self.real(key, x.into().map(|x| x as f64), Count(most));
    }

    fn captions(&mut self, key: &str, captions: &Captions) {
        self.real(&format!("{key}.dropout"), captions.dropout, Share);
        self.real(&format!("{key}.tag_dropout"), captions.tag_dropout, Share);
    }

    fn concepts(&mut self, key: &str, concepts: &[Concept]) {
        for (index, concept) in concepts.iter().enumerate() {
            let key = format!("{key}.{index}");
            self.count(&format!("{key}.repeats"), concept.repeats, MOST_REPEATS);
            self.count(&format!("{key}.sheet"), concept.sheet, MOST_PIXELS);
            concept.captions.iter().for_each(|it| self.captions(&format!("{key}.captions"), it));
        }
    }
}

impl Recipe {
    /// What is wrong with the first number that cannot be.
    pub(super) fn wrong_number(&self) -> Option<String> {
        let Self { data, objective, train, .. } = self;
        let mut all = Numbers::default();
        let scale_from = self.adapter.as_ref().and_then(|adapter| adapter.scale_from);
        all.real("adapter.scale_from.alpha", scale_from.map(|from| from.alpha), Positive);

        for (index, embedding) in self.embeddings.iter().enumerate() {
            all.count(&format!("embeddings.{index}.vectors"), embedding.vectors, MOST_VECTORS);
            all.real(&format!("embeddings.{index}.rate"), embedding.rate, Positive);
        }

        let [width, height] = data.resolution.size();
        all.count("data.resolution", width.min(height), MOST_PIXELS);
        all.count("data.resolution", width.max(height), MOST_PIXELS);
        if let Some(buckets) = &data.buckets {
            all.count("data.buckets.step", buckets.step, width.saturating_mul(height).isqrt());
            all.count("data.buckets.min", buckets.min, MOST_PIXELS);
            all.count("data.buckets.max", buckets.max, MOST_PIXELS);
        }
        for (index, colour) in data.backgrounds.iter().flat_map(|it| &it.colours).enumerate() {
            all.real(&format!("data.backgrounds.colours.{index}.weight"), colour.weight, Positive);
        }
        all.count("data.chunks", data.chunks, 100);
        all.captions("data.captions", &data.captions);
        all.concepts("data.concepts", &data.concepts);

        all.real("objective.huber_c", objective.huber_c, Positive);
        all.real("objective.min_snr_gamma", objective.min_snr_gamma, Positive);
        all.real("objective.noise_offset", objective.noise_offset, NotNegative);
        all.real("objective.adaptive_noise", objective.adaptive_noise, NotNegative);
        all.real("objective.multires.discount", objective.multires.map(|it| it.discount), Share);
        all.real("objective.input_perturbation", objective.input_perturbation, NotNegative);
        all.real("objective.prior_weight", objective.prior_weight, NotNegative);
        all.real("objective.orthogonality", objective.orthogonality, NotNegative);

        all.count("train.steps", train.steps, MOST_STEPS);
        all.count("train.epochs", train.epochs, MOST_STEPS);
        all.count("train.batch", train.batch, 1 << 16);
        all.count("train.accumulation", train.accumulation, 1 << 16);
        all.real("train.rate", train.rate, Positive);
        all.real("train.text_encoder_rate", train.text_encoder_rate, NotNegative);
        all.real("train.loraplus", train.loraplus, Positive);
        for (index, block) in train.blocks.iter().enumerate() {
            all.real(&format!("train.blocks.{index}.rate"), block.rate, NotNegative);
        }
        all.count("train.schedule.cycles", train.schedule.cycles, MOST_STEPS);
        all.real("train.schedule.power", train.schedule.power, NotNegative);
        all.real("train.schedule.floor", train.schedule.floor, Share);
        all.real("train.clip", train.clip, Positive);
        all.real("train.ema", train.ema, BelowOne);

        all.count("sample.every", self.sample.as_ref().map(|it| it.every), MOST_STEPS);
        if let Some(validation) = &self.validation {
            all.count("validation.every", validation.every, MOST_STEPS);
            all.concepts("validation.concepts", &validation.concepts);
        }
        let wrong = all.0.into_iter().find(|(_, x, must)| !must.allows(*x));
        wrong.map(|(key, x, must)| format!("{key}: is {x}; give {must}"))
    }
}
