//! One adapter of a stack, and how it acts in one forward pass.

use std::borrow::Cow;

use burn::tensor::{Tensor, TensorData};

use crate::{Call, Condition, DynAdapter, Features, Site, Training, training::Draw};

/// One adapter of a stack.
#[derive(Debug, Clone)]
pub struct Member {
    /// Name of the set of adapters that it belongs to: those of one file or one run.
    pub set: String,
    /// Strength $\mu$: 0 is off, 1 as trained; others inter- and extrapolate.
    pub strength: f64,
    /// Merge ratio $\gamma$ where [`Adapter::degree`](crate::Adapter::degree) has it, in place of the
    /// strength: what the gamma-equivalence theorem is about.
    pub gamma: Option<f64>,
    /// The adapter.
    pub adapter: DynAdapter,
    /// What steps of training leave out of it.
    pub training: Training,
    step: Option<u64>,
}

impl Member {
    /// An adapter of a set.
    pub fn new(set: impl Into<String>, strength: f64, adapter: DynAdapter) -> Self {
        let training = Training::default();
        Self { set: set.into(), strength, gamma: None, adapter, training, step: None }
    }

    /// With options of training.
    #[must_use]
    pub fn training(self, training: Training) -> Self {
        Self { training, ..self }
    }

    /// Circumstances of the next forward passes.
    pub fn condition(&mut self, condition: &Condition) {
        self.step = condition.step;
        self.adapter.condition(condition);
    }

    /// The adapter as it acts on `site`, whose base weight is `w0`: `None` where the step leaves it out.
    pub(crate) fn acting(&self, site: &Site, w0: &Tensor<2>) -> Option<Acting<'_>> {
        let adapter = match self.adapter.dtype() {
            Some(dtype) if dtype != w0.dtype() => Cow::Owned(self.adapter.cast(w0.dtype())),
            _ => Cow::Borrowed(&self.adapter),
        };
        let whole = Acting { adapter, strength: self.strength, gamma: self.gamma, output: None };
        let Some(step) = self.step.filter(|_| self.training.drops()) else { return Some(whole) };
        let Training { dropout, rank_dropout, rank_dropout_scale, module_dropout, .. } =
            self.training;
        let mut draw = Draw::new(site, &self.set, step);
        if draw.hits(module_dropout) {
            return None;
        }
        let mut vector = |n, p, scaled| {
            let data = TensorData::new(draw.weights(n, p, scaled), [n]);
            Tensor::<1>::from_data(data, (&w0.device(), w0.dtype()))
        };
        let mut output = (dropout > 0.0).then(|| vector(site.out(), dropout, true));
        let mut adapter = whole.adapter;
        if rank_dropout > 0.0 {
            let mut ranks = |r| vector(r, rank_dropout, rank_dropout_scale);
            match adapter.weigh_ranks(&mut ranks) {
                Some(weighed) => adapter = Cow::Owned(weighed),
                None => {
                    let ranks = ranks(site.out());
                    output = Some(output.map_or(ranks.clone(), |output| output * ranks));
                }
            }
        }
        Some(Acting { adapter, output, ..whole })
    }
}

/// An adapter as it acts in one forward pass.
#[derive(Debug)]
pub struct Acting<'a> {
    /// Strength $\mu$.
    pub strength: f64,
    gamma: Option<f64>,
    adapter: Cow<'a, DynAdapter>,
    /// Weights of its outputs, `[out]`.
    output: Option<Tensor<1>>,
}

impl Acting<'_> {
    /// What it adds to the base weight `w0`, both `[out, in·K]`.
    pub fn update(&self, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        let update = match self.gamma {
            None => self.adapter.update_at(site, w0, self.strength),
            Some(gamma) => self.adapter.update_gamma(site, w0, gamma),
        };
        match &self.output {
            None => update,
            Some(output) => update * output.clone().unsqueeze_dim(1),
        }
    }

    /// What it adds to the output `y0` of the layer; `None` where there is no shortcut.
    pub fn added(&self, call: &Call, y0: &Features) -> Option<Features> {
        if self.gamma.is_some() {
            return None;
        }
        let added = self.adapter.added(call, y0)?;
        Some(match &self.output {
            None => added,
            Some(output) => added.scale(output.clone()),
        })
    }

    /// The output of the layer in one operation, where there is one.
    pub fn forward(&self, call: &Call) -> Option<Features> {
        if self.output.is_some() || self.gamma.is_some() {
            return None;
        }
        self.adapter.forward(call)
    }
}
