//! What a UNet is shown beside the sample, from step to step.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{DType, Tensor};

use super::{Pipeline, Request, encode::Text};
use crate::{
    Added, ModelError,
    schedulers::guide,
    text::{Part, Prompt},
};

/// The texts of a request, encoded.
pub(super) struct Conditions {
    /// What the image does not show, and then each part of what it shows.
    parts: Vec<Encoded>,
    /// Whether the model is asked what it does not show.
    guided: bool,
    guidance: f64,
    rescale: f64,
}

/// A part of a prompt, and its texts as the model takes them.
struct Encoded {
    part: Part,
    texts: Vec<Text>,
}

/// A batch of conditions: for each text as many as there are images.
pub(super) struct Batch {
    pub context: Tensor<3>,
    pub added: Option<Added>,
}

impl Conditions {
    /// Encodes the texts of a request, which hold for so many calls of the model. `told` is whether
    /// the model itself is told the guidance scale.
    pub fn of(
        pipeline: &Pipeline,
        request: &Request,
        calls: usize,
        told: bool,
    ) -> Result<Self, ModelError> {
        let positive = Prompt::positive(&request.prompt, calls)?;
        let negative = Prompt::negative(request.negative.as_deref().unwrap_or_default(), calls)?;
        let composed = !matches!(positive.parts[..], [Part { weight: 1.0, .. }]);
        if composed && told {
            let reason = "has AND, which needs a negative prompt; this model has none";
            return Err(ModelError::input("prompt", reason));
        }
        let negatives = negative.parts.iter().map(|part| (part, request.negative_clip_skip));
        let positives = positive.parts.iter().map(|part| (part, request.clip_skip));
        let parts: Vec<(&Part, usize)> = negatives.chain(positives).collect();
        let texts = parts
            .iter()
            .flat_map(|(part, skip)| part.stages.iter().map(|stage| (&*stage.text, *skip)));
        let distinct: Vec<(&str, usize)> = texts.collect::<BTreeSet<_>>().into_iter().collect();
        let encoded: BTreeMap<_, _> = distinct
            .iter()
            .copied()
            .zip(pipeline.encode_with(&distinct, request.backtrack)?)
            .collect();
        let encode = |(part, skip): &(&Part, usize)| Encoded {
            part: (*part).clone(),
            texts: part
                .stages
                .iter()
                .map(|stage| encoded[&(&*stage.text, *skip)].clone())
                .collect(),
        };
        let mut parts: Vec<Encoded> = parts.iter().map(encode).collect();
        if request.negative.is_none() && pipeline.zeros_for_nothing {
            parts[0].texts.iter_mut().for_each(|text| *text = text.nothing());
        }
        let guided = (request.guidance > 1.0 || composed) && !told;
        let guidance = request.guidance.max(1.0);
        Ok(Self { parts, guided, guidance, rescale: request.guidance_rescale })
    }

    /// The parts that the model is asked for.
    fn asked(&self) -> &[Encoded] {
        &self.parts[usize::from(!self.guided)..]
    }

    /// How many samples the model is shown for one.
    pub fn copies(&self) -> usize {
        self.asked().len()
    }

    /// The stage of each part at a call of the model, from 0.
    pub fn stages(&self, call: usize) -> Vec<usize> {
        self.asked().iter().map(|encoded| encoded.part.stage(call)).collect()
    }

    /// The texts of these stages, each as often as there are images, and SDXL's sizes.
    pub fn batch(
        &self,
        pipeline: &Pipeline,
        stages: &[usize],
        [height, width]: [usize; 2],
        count: usize,
    ) -> Batch {
        let texts = self.asked().iter().zip(stages).map(|(encoded, stage)| &encoded.texts[*stage]);
        let repeated = texts.flat_map(|text| std::iter::repeat_n(text.clone(), count));
        let (contexts, pooled): (Vec<_>, Vec<_>) =
            repeated.map(|text| (text.context, text.pooled)).unzip();
        let batch = contexts.len();
        let added = pipeline.unet.config().text_time.map(|_| {
            let sizes = [height, width, 0, 0, height, width].map(|n| n as f32);
            let time_ids = Tensor::<2>::from_data([sizes], (&pipeline.device, DType::F32));
            Added { text_embeds: Tensor::cat(pooled, 0), time_ids: time_ids.expand([batch, 6]) }
        });
        Batch { context: Tensor::cat(contexts, 0), added }
    }

    /// What the model said of all parts, as one: with what it said of the negative prompt, $e_u$, and
    /// of the parts, $e_i$ of weight $w_i$, $e_c = e_u + \sum_i w_i (e_i - e_u)$ is
    /// [guided](guide).
    pub fn guided(&self, output: Tensor<4>, count: usize) -> Tensor<4> {
        if !self.guided {
            return output;
        }
        let part = |index: usize| output.clone().narrow(0, index * count, count);
        let negative = part(0);
        let weights: Vec<f64> = self.parts[1..].iter().map(|encoded| encoded.part.weight).collect();
        let positive = match weights[..] {
            [1.0] => part(1),
            _ => weights.iter().zip(1..).fold(negative.clone(), |sum, (weight, index)| {
                sum + (part(index) - negative.clone()).mul_scalar(*weight)
            }),
        };
        guide(negative, positive, self.guidance, self.rescale)
    }
}
