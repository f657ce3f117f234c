//! Samples with noise, and what the model is to tell of them.

use burn::tensor::{DType, Tensor, TensorData};
use higanbana_diffusion::{Added, Pipeline, pipeline::Text, schedulers::Prediction};
use rand::RngExt;

use super::{Draw, Feed, latents::dims};
use crate::{
    TrainError,
    data::cache::Tensors,
    network::{Batch, Network},
    objective::noise::normal,
    random::stream,
    task::Task,
};

impl Feed {
    /// A batch of these images at these times. The network is the one that will see it: it encodes the
    /// texts where that is trained.
    ///
    /// # Errors
    /// When a text or latents cannot be had.
    pub fn batch(
        &mut self,
        images: &[usize],
        times: &[usize],
        draw: Draw,
        task: &Task,
        pipeline: &Pipeline,
        network: &Network,
    ) -> Result<Batch, TrainError> {
        let device = Network::device(pipeline);
        let objective = &task.objective;
        let (mut clean, mut noise, mut extra) = (Vec::new(), Vec::new(), Vec::new());
        let (mut texts, mut sizes) = (Vec::new(), Vec::new());
        let (mut shape, mut mask_values) = ([0; 3], Vec::new());
        for (number, &index) in (draw.first..).zip(images) {
            let mut rng = stream(draw.seed, "sample", number);
            let shown = self.drawn(index, number, draw, rng.random_bool(0.5));
            texts.push(self.said(&shown, number, draw));
            let [h, w] = self.pictures[index].size;
            let ([left, top], [bucket_w, bucket_h]) = (shown.view.corner, shown.view.fit.bucket);
            sizes.extend([h, w, top, left, bucket_h, bucket_w].map(|n| n as f32));

            let latents = self.latents(&shown, pipeline)?;
            let [_, c, h, w] = dims(&latents["mean"]);
            shape = [c, h, w];
            match latents.get("mask") {
                Some(mask) => mask_values.extend(mask.iter::<f32>()),
                None => mask_values.extend(vec![1.0; h * w]),
            }
            let z = sampled(&latents, pipeline.scaling(), &normal(c * h * w, &mut rng));
            noise.extend(objective.noise(&z, shape, &mut rng));
            if objective.input_perturbation > 0.0 {
                extra.extend(normal(c * h * w, &mut rng));
            }
            clean.extend(z);
        }
        let [c, h, w] = shape;
        let maps = |values: Vec<f32>| {
            let data = TensorData::new(values, [images.len(), c, h, w]);
            Tensor::<4>::from_data(data, (&device, DType::F32))
        };
        let (z, n) = (maps(clean), maps(noise));
        let seen = match extra.is_empty() {
            true => n.clone(),
            false => n.clone() + maps(extra).mul_scalar(objective.input_perturbation),
        };
        let noisy = task.schedule.add_noise(z.clone(), seen, times).cast(pipeline.dtype);
        let target = match task.prediction {
            Prediction::Epsilon => n,
            Prediction::Velocity => task.schedule.velocity(z, n, times),
        };
        let time_ids = TensorData::new(sizes, [images.len(), 6]);
        let time_ids = Tensor::<2>::from_data(time_ids, (&device, DType::F32));
        let conditions = |Text { context, pooled }: Text| {
            let added = pipeline.unet.config().text_time;
            let added = added.map(|_| Added { text_embeds: pooled, time_ids: time_ids.clone() });
            (context, added)
        };
        let (context, added) = conditions(self.texts(&texts, pipeline, Some(network))?);
        let regular: Vec<bool> = images.iter().map(|index| self.is_regular(*index)).collect();
        let weights = regular.iter().map(|is| if *is { objective.prior_weight } else { 1.0 });
        let weights = weights.collect();
        let times = times.to_vec();
        let mask = self.data.alpha_mask.then(|| {
            let data = TensorData::new(mask_values, [images.len(), 1, h, w]);
            Tensor::from_data(data, (&device, DType::F32))
        });
        let mut batch = Batch { noisy, target, mask, times, weights, context, added };
        if objective.preserve_output && regular.contains(&true) && !draw.plain {
            // The frozen model has text encoders too.
            let frozen = conditions(self.texts(&texts, pipeline, None)?);
            batch.target = preserved(&batch, frozen, &regular, pipeline);
        }
        Ok(batch)
    }
}

/// $(\mu + \sigma \xi) \cdot scaling$.
fn sampled(latents: &Tensors, scaling: f64, xi: &[f32]) -> Vec<f32> {
    let values = |name: &str| latents[name].iter::<f32>();
    let terms = values("mean").zip(values("logvar")).zip(xi);
    terms.map(|((mean, logvar), xi)| (mean + (0.5 * logvar).exp() * xi) * scaling as f32).collect()
}

/// The targets of a batch, with what the frozen model predicts, of texts of its own, in place of some.
fn preserved(
    batch: &Batch,
    (context, added): (Tensor<3>, Option<Added>),
    which: &[bool],
    pipeline: &Pipeline,
) -> Tensor<4> {
    let times: Vec<f32> = batch.times.iter().map(|time| *time as f32).collect();
    let times = Tensor::from_data(times.as_slice(), (&pipeline.device, DType::F32));
    let added = added.map(|added| Added {
        text_embeds: added.text_embeds.inner(),
        time_ids: added.time_ids.inner(),
    });
    let noisy = batch.noisy.clone().inner();
    let frozen = pipeline.unet.forward(noisy, times, context.inner(), added.as_ref());
    let mask = which.iter().map(|is| f32::from(u8::from(*is))).collect::<Vec<_>>();
    let mask = TensorData::new(mask, [which.len(), 1, 1, 1]);
    let device = batch.target.device();
    let mask = Tensor::<4>::from_data(mask, (&device, DType::F32));
    let frozen = Tensor::from_data(frozen.into_data(), (&device, DType::F32));
    batch.target.clone() + (frozen - batch.target.clone()) * mask
}
