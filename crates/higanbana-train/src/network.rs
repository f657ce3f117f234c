//! The models that are trained together, and the loss of a batch.

use burn::{
    module::Module,
    tensor::{DType, Device, Tensor, TensorData},
};
use higanbana_adapters::inject::{self, Injection, Preset};
use higanbana_core::{Condition, DynAdapter, Registry, Site, slot};
use higanbana_diffusion::{
    Added, CLIPTextModel, Pipeline, UNet2DConditionModel,
    schedulers::{NoiseSchedule, Prediction},
};

use crate::{TrainError, objective::Objective, recipe, weights};

/// Name of the set of adapters that is trained.
pub const SET: &str = "trained";

/// What diffusers calls the denoiser.
pub(crate) const UNET: &str = "unet";
/// What it calls the text encoders.
pub(crate) const ENCODERS: [&str; 2] = ["text_encoder", "text_encoder_2"];

/// The models that are trained together.
#[derive(Module, Debug)]
pub struct Network {
    /// The denoiser.
    pub unet: UNet2DConditionModel,
    /// The text encoders.
    pub encoders: Vec<CLIPTextModel>,
}

/// A batch as the UNet sees it.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Latents with noise, `[batch, channels, h, w]`, in the type of the UNet.
    pub noisy: Tensor<4>,
    /// What the model is to tell, in the type of the loss.
    pub target: Tensor<4>,
    /// How much each place counts, `[batch, 1, h, w]` from 0 to 1; all fully if there is none.
    pub mask: Option<Tensor<4>>,
    /// The time of each sample.
    pub times: Vec<usize>,
    /// The weight of each sample, before that of the [objective](crate::objective).
    pub weights: Vec<f64>,
    /// The texts.
    pub context: Tensor<3>,
    /// SDXL's second conditioning.
    pub added: Option<Added>,
}

/// The adapters that a recipe asks for.
pub fn injection(adapter: &recipe::Adapter, preset: &Preset, seed: u64) -> Injection {
    let mut injection = Injection::new(SET, &adapter.algorithm)
        .options(adapter.options.clone())
        .seed(seed)
        .preset(preset.clone());
    injection.rules.extend(adapter.rules.clone());
    injection
}

impl Network {
    /// The models of a pipeline, ready to be trained themselves.
    pub fn whole(pipeline: &Pipeline) -> Self {
        let encoders = pipeline.encoders.iter().map(|encoder| encoder.model.clone()).collect();
        let network = Self { unet: pipeline.unet.clone(), encoders };
        weights::identified(network.train())
    }

    /// The models of a pipeline as they are, of which nothing is trained but [tokens](Self::learning).
    pub fn frozen(pipeline: &Pipeline) -> Self {
        let encoders = pipeline.encoders.iter().map(|it| it.model.clone().no_grad()).collect();
        Self { unet: pipeline.unet.clone().no_grad(), encoders }.train()
    }

    /// With those learnt tokens trained that `which` says, beside what is trained already.
    #[must_use]
    pub fn learning(self, which: &[bool]) -> Self {
        let encoders = self.encoders.into_iter().map(|it| it.training(which)).collect();
        weights::identified(Self { encoders, ..self })
    }

    /// The models of a pipeline with new adapters, ready to be trained.
    ///
    /// # Errors
    /// When the adapters cannot be placed.
    pub fn adapted(
        pipeline: &Pipeline,
        adapter: &recipe::Adapter,
        preset: &Preset,
        registry: &Registry,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let injection = injection(adapter, preset, seed);
        let (unet, _) = inject::inject(&pipeline.unet, registry, &injection)?;
        let encoders = pipeline.encoders.iter().enumerate().map(|(i, encoder)| {
            if !adapter.text_encoder {
                return Ok(encoder.model.clone().no_grad());
            }
            // Layers of both encoders have the same paths: they are not to start from the same numbers.
            let injection = injection.clone().seed(seed.wrapping_add(1 + i as u64));
            Ok::<_, TrainError>(inject::inject(&encoder.model, registry, &injection)?.0)
        });
        let network = Self { unet, encoders: encoders.collect::<Result<_, _>>()? };
        Ok(weights::identified(network.train()))
    }

    /// Whether the text encoders are trained.
    pub fn trains_text(&self) -> bool {
        self.encoders.iter().any(weights::is_trained)
    }

    /// The loss of each sample of a batch, weighted, `[batch]`.
    pub fn losses(
        &self,
        batch: &Batch,
        objective: &Objective,
        schedule: &NoiseSchedule,
        prediction: Prediction,
    ) -> Tensor<1> {
        let device = batch.noisy.device();
        let times: Vec<f32> = batch.times.iter().map(|time| *time as f32).collect();
        let times = Tensor::from_data(times.as_slice(), (&device, DType::F32));
        let predicted = self.unet.forward(
            batch.noisy.clone(),
            times,
            batch.context.clone(),
            batch.added.as_ref(),
        );
        let predicted = predicted.cast(batch.target.dtype());
        let mask = batch.mask.as_ref();
        let losses =
            objective.losses(predicted, batch.target.clone(), mask, schedule, &batch.times);
        let weights = batch.times.iter().zip(&batch.weights);
        let weights: Vec<f32> = weights
            .map(|(time, w)| (w * objective.weight(prediction, schedule.snr(*time))) as f32)
            .collect();
        let weights = TensorData::new(weights, [batch.times.len()]);
        losses.clone() * Tensor::from_data(weights, (&device, losses.dtype()))
    }

    /// The same models, told the times of the next batch, and a number from which they draw what they
    /// leave out.
    #[must_use]
    pub fn conditioned(self, times: &[usize], horizon: usize, draw: Option<u64>) -> Self {
        let times: Vec<f64> = times.iter().map(|time| *time as f64).collect();
        slot::condition(self, &Condition { step: draw, ..Condition::at(times, horizon as f64) })
    }

    /// The adapters of all models, with the prefix that diffusers gives each model's paths.
    ///
    /// # Errors
    /// When a model has none.
    pub fn adapters(&self) -> Result<Vec<(&'static str, Site, DynAdapter)>, TrainError> {
        let mut all = Vec::new();
        let mut add = |prefix, adapters: Vec<(Site, DynAdapter)>| {
            all.extend(adapters.into_iter().map(|(site, it)| (prefix, site, it)));
        };
        add(UNET, inject::adapters(&self.unet, SET)?);
        for (encoder, prefix) in self.encoders.iter().zip(ENCODERS) {
            if !inject::sets(encoder).is_empty() {
                add(prefix, inject::adapters(encoder, SET)?);
            }
        }
        Ok(all)
    }

    /// How far the factors of all adapters are from orthogonal, `[1]`.
    ///
    /// # Errors
    /// When a model has no adapters, or an adapter no factors that are meant to be.
    pub fn orthogonality(&self) -> Result<Tensor<1>, TrainError> {
        let each = self.adapters()?.into_iter().map(|(prefix, site, adapter)| {
            adapter.orthogonality().ok_or_else(|| {
                let (name, path) = (adapter.name(), &site.path);
                let reason = format!(
                    "objective.orthogonality: {name} has no factors that are meant to be orthogonal at \
                     {prefix}.{path}"
                );
                TrainError::recipe("RUN.toml", reason)
            })
        });
        let each = each.collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::cat(each, 0).sum())
    }

    /// With every update within its [`max_norm`](higanbana_core::Training::max_norm).
    #[must_use]
    pub fn limited(self) -> Self {
        let encoders = self.encoders.iter().map(|it| inject::limit_norms(it).0).collect();
        Self { unet: inject::limit_norms(&self.unet).0, encoders }
    }

    /// With a graph that keeps less, where that is wanted.
    #[must_use]
    pub fn checkpointed(self, checkpointed: bool) -> Self {
        Self { unet: self.unet.checkpointed(checkpointed), ..self }
    }

    /// Where it computes, with gradients.
    pub fn device(pipeline: &Pipeline) -> Device {
        pipeline.device.clone().autodiff()
    }
}
