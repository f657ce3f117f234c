//! One step: gradients of its batches, and what the optimizer makes of them.

use burn::{
    optim::{GradientsAccumulator, GradientsParams},
    tensor::Tensor,
};
use higanbana_adapters::layers::first_not_finite;

use super::{Trainer, number_of};
use crate::{TrainError, fault, feed::Draw, precision::unscaled, task::Task, weights};

impl Trainer<'_> {
    /// One step. Gives its loss.
    pub(super) fn advance(&mut self) -> Result<f64, TrainError> {
        let train = &self.recipe.train;
        let factor = train.schedule.factor(self.step, self.steps);
        let ema = train.ema.map(|decay| match train.ema_warmup {
            Some(false) => decay,
            _ => weights::warmed(decay, self.step),
        });
        let mut scale = train.dtype.loss_scale();
        let (loss, gradients) = loop {
            match self.gradients(scale) {
                // Too large for the type in use, it may be: see `precision`.
                Err(TrainError::NotFinite { what: GRADIENT, .. }) if scale > 1.0 => scale /= 2.0,
                found => break found?,
            }
        };
        self.network = self.optimizer.step(factor, self.network.clone(), gradients).limited();
        self.seen = self.batches.min(self.seen + self.recipe.train.accumulation);
        self.step += 1;
        if let (Some(average), Some(decay)) = (&mut self.average, ema) {
            weights::average(average, &weights::read(&self.network), decay);
        }
        Ok(loss)
    }

    /// The loss of the next step and its gradients, which are multiplied by `scale` on their way.
    fn gradients(&mut self, scale: f64) -> Result<(f64, GradientsParams), TrainError> {
        let first = self.seen;
        let accumulation = self.recipe.train.accumulation.min(self.batches - first);
        let (mut gradients, mut total) = (GradientsAccumulator::new(), 0.0);
        let mut seen = Vec::new();
        for number in first..first + accumulation {
            let (images, loss) = self.loss(number)?;
            let value = number_of(&loss);
            seen.extend(images);
            if !value.is_finite() {
                let layer = self.first_output(number)?;
                return Err(self.not_finite("the loss", &seen, layer));
            }
            total += value / accumulation as f64;
            let loss = loss.mul_scalar(scale / accumulation as f64);
            let found = GradientsParams::from_grads(loss.backward(), &self.network);
            gradients.accumulate(&self.network, found);
        }
        let gradients = unscaled(&self.network, gradients.grads(), scale);
        match fault::gradient(&self.network, &gradients) {
            Some(path) => Err(self.not_finite(GRADIENT, &seen, format!("the gradient of {path}"))),
            None => Ok((total, gradients)),
        }
    }

    /// The images of a batch, which is one of the run by its number, and what is minimised.
    fn loss(&mut self, number: usize) -> Result<(Vec<usize>, Tensor<1>), TrainError> {
        let images = self.order.batch(number);
        let first = (number * self.recipe.train.batch) as u64;
        let draw = Draw { seed: self.recipe.seed, first, plain: false };
        let times = draw.times(images.len(), &self.task);
        let left_out = self.recipe.seed.wrapping_add(number as u64);
        self.network =
            self.network.clone().conditioned(&times, self.task.schedule.len(), Some(left_out));
        let (task, pipeline, network) = (&self.task, &self.pipeline, &self.network);
        let batch = self.feed.batch(&images, &times, draw, task, pipeline, network)?;
        let Task { objective, schedule, prediction } = task;
        let loss = network.losses(&batch, objective, schedule, *prediction).mean();
        Ok(match objective.orthogonality {
            0.0 => (images, loss),
            weight => (images, loss + network.orthogonality()?.mul_scalar(weight)),
        })
    }

    /// What is not finite, and where that began: in a weight, or else in `layer`.
    fn not_finite(&self, what: &'static str, images: &[usize], layer: String) -> TrainError {
        let weights = weights::read(&self.network);
        let layer = weights::first_not_finite(&weights).map_or(layer, String::from);
        let names =
            images.iter().map(|index| self.feed.pictures[*index].path.display().to_string());
        let batch = names.collect::<Vec<_>>().join(", ");
        TrainError::NotFinite { what, step: self.step + 1, layer, batch, kept: String::new() }
    }

    /// Where a batch whose loss is not finite was so first.
    fn first_output(&mut self, number: usize) -> Result<String, TrainError> {
        let (loss, weight) = first_not_finite(|| self.loss(number));
        loss?;
        Ok(match weight.and_then(|weight| fault::layer(&self.network, weight)) {
            Some(layer) => format!("the output of {layer}"),
            None => "the loss itself, every output is finite".into(),
        })
    }
}

const GRADIENT: &str = "a gradient";
