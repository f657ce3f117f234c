//! T-LoRA: a low-rank update with trained singular values, whose rank shrinks where a diffusion
//! step is noisy. It starts at singular vectors of the weight and adds what it has moved since.
//!
//! $$\Delta W = \frac{\alpha}{r}\big(P \operatorname{diag}(\lambda \circ m_t) Q -
//! P_0 \operatorname{diag}(\lambda_0 \circ m_t) Q_0\big)$$
//!
//! ```text
//! p_layer       P  [out, r]     left singular vectors      base_p_layer       P₀, frozen
//! lambda_layer  λ  [1, r]       singular values            base_lambda_layer  λ₀, frozen
//! q_layer       Q  [r, in·K]    right singular vectors     base_q_layer       Q₀, frozen
//! ```
//!
//! At timestep $t$ of $T$ the mask $m_t$ keeps the first
//! $\min(r, \lfloor ((T-t)/T)^a (r - r_{min}) \rfloor + r_{min})$ ranks; `Condition` says $t$ and $T$,
//! and without timesteps every rank acts. Samples of one batch with different masks have no single
//! weight: only the shortcut serves them.
//!
//! The start is the singular value decomposition of $W_0$, or of a random matrix; singular vectors
//! that the matrix does not have are zeros.
//!
//! Differences from LyCORIS: the frozen start and the mask's options are written to the file, as
//! `base_*`, `min_rank` and `alpha_rank_scale`; its own files leave the start out, it is then taken
//! from the base weight, as `principal`, as LyCORIS does. Kernels of several taps are adapted whole.
//!
//! T-LoRA: arXiv:2507.05964.

mod masks;
mod schedule;
mod singular;

use burn::{
    module::{Module, Param},
    tensor::{FloatDType, Tensor},
};
use higanbana_core::{
    Adapter, AdapterError, Budget, Call, Condition, Cost, Degree, Features, Glimpse, Init, Outline,
    Parts, Site, SiteKind, Tensors, Variant,
    parts::{dims, scalar_data},
    spectrum::{self, SpectrumError},
    training::weigh_rows,
};
use serde::{Deserialize, Serialize};

pub use self::{
    masks::Masks,
    schedule::RankSchedule,
    singular::{SingularFactors, Stretch},
};
use crate::scale::Scale;

/// Options of [`Tlora`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TloraConfig {
    /// Rank $r$.
    pub rank: usize,
    /// $\alpha$; 0 stands for the rank.
    pub alpha: f64,
    /// Which singular vectors to start from.
    pub sig_type: Stretch,
    /// Start from the frozen weight; else from a normal matrix of deviation $1/r$.
    pub use_data_init: bool,
    /// $r_{min}$, the ranks that act at the noisiest step.
    pub min_rank: usize,
    /// $a$: above 1 fewer ranks act at noisy steps, below 1 more.
    pub alpha_rank_scale: f64,
}

impl Default for TloraConfig {
    fn default() -> Self {
        Self {
            rank: 4,
            alpha: 1.0,
            sig_type: Stretch::Principal,
            use_data_init: true,
            min_rank: 1,
            alpha_rank_scale: 1.0,
        }
    }
}

/// A T-LoRA adapter; see the [module](self).
#[derive(Module, Debug)]
pub struct Tlora {
    /// $Q$.
    pub q_layer: Param<Tensor<2>>,
    /// $P$.
    pub p_layer: Param<Tensor<2>>,
    /// $\lambda$.
    pub lambda_layer: Param<Tensor<2>>,
    /// $Q_0$, frozen.
    pub base_q_layer: Param<Tensor<2>>,
    /// $P_0$, frozen.
    pub base_p_layer: Param<Tensor<2>>,
    /// $\lambda_0$, frozen.
    pub base_lambda_layer: Param<Tensor<2>>,
    #[module(skip)]
    scale: Scale,
    #[module(skip)]
    schedule: RankSchedule,
    #[module(skip)]
    masks: Masks,
}

impl Adapter for Tlora {
    type Config = TloraConfig;

    const NAME: &'static str = "tlora";
    const TITLE: &'static str = "T-LoRA";
    const REFERENCE: &'static str = "arXiv:2507.05964";
    const FORMULA: &'static str = r"\frac{\alpha}{r}(P \Lambda M_t Q - P_0 \Lambda_0 M_t Q_0)";
    const RANK: &'static str = "2r";
    const PARAMETERS: &'static str = r"r(out + in\,K + 1)";
    const KEYS: &'static [&'static str] = &[
        "lambda_layer",
        "q_layer.weight",
        "p_layer.weight",
        "alpha",
        "base_q_layer.weight",
        "base_p_layer.weight",
        "base_lambda_layer",
        "min_rank",
        "alpha_rank_scale",
    ];
    const VARIANTS: &'static [Variant] = &[
        Variant { name: "middle", options: "sig_type = \"middle\"" },
        Variant { name: "last", options: "sig_type = \"last\"" },
        Variant { name: "random", options: "use_data_init = false" },
    ];

    fn new(site: &Site, config: &TloraConfig, init: &mut Init) -> Result<Self, AdapterError> {
        let r = config.rank;
        let scale = Scale::thin(site, r, config.alpha, false)?;
        let schedule = RankSchedule::new(site, r, config.min_rank, config.alpha_rank_scale)?;
        let start = if config.use_data_init {
            spectrum::svd(init.weight())
        } else {
            spectrum::svd(&init.normal([site.out(), site.cols()], 1.0 / r as f64))
        };
        let start = start.map_err(|error| AdapterError::numeric(site, error))?;
        let start = SingularFactors::of(&start, config.sig_type, r, &init.device(), init.dtype());
        Ok(Self::between(start.clone(), start, scale, schedule))
    }

    fn update(&self, _site: &Site, _w0: &Tensor<2>) -> Tensor<2> {
        let (left, right) = self.moved();
        self.masks.apply(left).matmul(right)
    }

    fn added(&self, call: &Call, _y0: &Features) -> Option<Features> {
        let groups = call.op.groups();
        let (left, right) = self.moved();
        let masks = self.masks.each(groups * right.dims()[0], &right);
        let mut inner = call.apply(right.repeat_dim(0, groups));
        if let Some(masks) = masks {
            inner = inner.scale_each(masks);
        }
        Some(inner.mix_groups(left.mul_scalar(call.strength), groups))
    }

    fn cost(&self, site: &Site, groups: usize) -> Option<Cost> {
        let r = 2 * self.rank();
        let update = if self.masks.is_one() { site.out() * r * site.cols() } else { usize::MAX };
        Some(Cost { update, shortcut: r * (site.out() + groups * site.cols()) })
    }

    fn degree(&self) -> Degree {
        Degree::Inside {
            map: "γ P diag(λ) Q, before the frozen start is taken off",
            exponents: vec![("p_layer", 1), ("lambda_layer", 1), ("q_layer", 1)],
        }
    }

    /// As the definition has it and not as [`Adapter::update`] does: there the start is taken off
    /// factor by factor, whose rounding does not scale with the factors.
    fn update_gamma(&self, _site: &Site, _w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        let product = |factors: SingularFactors, gamma: f64| {
            let lambda = self.masks.apply(factors.lambda.mul_scalar(gamma));
            self.scale.apply(factors.p * lambda).matmul(factors.q)
        };
        product(self.trained(), gamma) - product(self.start(), 1.0)
    }

    fn rank_bound(&self, site: &Site) -> usize {
        site.full_rank().min(2 * self.rank())
    }

    fn parameter_count(&self, site: &Site) -> usize {
        self.rank() * (site.out() + site.cols() + 1)
    }

    fn write(&self, site: &Site) -> Tensors {
        let mut tensors = self.schedule.write();
        tensors.extend(self.trained().write(site, ""));
        tensors.extend(self.start().write(site, "base_"));
        tensors.insert("alpha".into(), scalar_data(self.scale.file_alpha()));
        tensors
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        let r = parts.dim("q_layer.weight", 0)?;
        let trained = SingularFactors::read(site, parts, "", r)?;
        let (scale, schedule) = (Scale::read(parts, r)?, RankSchedule::read(parts)?);
        let start = if parts.has("base_lambda_layer") {
            SingularFactors::read(site, parts, "base_", r)?
        } else {
            let svd = spectrum::svd(parts.base()?);
            let svd = svd.map_err(|error| AdapterError::numeric(site, error))?;
            SingularFactors::of(&svd, Stretch::Principal, r, &trained.q.device(), trained.q.dtype())
        };
        Ok(Self::between(trained, start, scale, schedule))
    }

    /// LyCORIS saves no start, so that a file does not tell which it was.
    fn assumption(module: &Glimpse) -> Option<&'static str> {
        let has = |key| module.keys.contains(key);
        let is_bare = has("lambda_layer") && !has("base_lambda_layer");
        is_bare.then_some(
            "T-LoRA without the factors that it started from: read as LyCORIS reads it, as started \
             from the principal ones; if it started elsewhere, its update is another",
        )
    }

    /// The leading ranks, of the start too, at the same scale: what the update is where a mask leaves
    /// no more. This is T-LoRA's own nesting, and no best approximation: that is the truncated
    /// singular value decomposition of the whole update, which belongs to no start and no mask. The
    /// budget counts the norms of the ranks' own updates, the singular values where these are
    /// orthogonal.
    fn resized(
        &self,
        _site: &Site,
        _w0: &Tensor<2>,
        budget: Budget,
    ) -> Option<Result<Self, SpectrumError>> {
        let r = budget.rank(&self.norms_by_rank()).min(self.rank());
        let [trained, start] = [self.trained(), self.start()].map(|factors| factors.leading(r));
        Some(Ok(Self::between(trained, start, self.scale.at_rank(r), self.schedule.at_rank(r))))
    }

    fn weigh_ranks(&self, weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<Self> {
        let weights = weights(self.rank());
        let [q_layer, base_q_layer] =
            [&self.q_layer, &self.base_q_layer].map(|q| weigh_rows(q, weights.clone()));
        Some(Self { q_layer, base_q_layer, ..self.clone() })
    }

    /// $\lVert P^\top P - I \rVert_F^2 + \lVert Q Q^\top - I \rVert_F^2$.
    fn orthogonality(&self) -> Option<Tensor<1>> {
        let (p, q) = (self.p_layer.val(), self.q_layer.val());
        let identity = Tensor::<2>::eye(self.rank(), &p.device()).cast(FloatDType::from(p.dtype()));
        let departure = |gram: Tensor<2>| (gram - identity.clone()).square().sum();
        let rows = departure(q.clone().matmul(q.transpose()));
        Some(departure(p.clone().transpose().matmul(p)) + rows)
    }

    fn condition(&mut self, condition: &Condition) {
        self.masks = Masks::new(self.schedule, self.rank(), condition);
    }

    fn outline(_kind: SiteKind, tensors: &Tensors) -> Outline {
        let [p, q] = ["p_layer.weight", "q_layer.weight"].map(|key| dims(tensors, key));
        let (&[out, ..], &[r, ref input @ ..]) = (p, q) else { return Outline::default() };
        Outline::new([&[out], input].concat(), r)
    }
}

impl Tlora {
    /// Rank $r$.
    pub fn rank(&self) -> usize {
        self.q_layer.lazy_shape()[0]
    }

    fn between(
        trained: SingularFactors,
        start: SingularFactors,
        scale: Scale,
        schedule: RankSchedule,
    ) -> Self {
        let frozen = |x: Tensor<2>| Param::from_tensor(x.detach()).set_require_grad(false);
        Self {
            q_layer: Param::from_tensor(trained.q),
            p_layer: Param::from_tensor(trained.p),
            lambda_layer: Param::from_tensor(trained.lambda),
            base_q_layer: frozen(start.q),
            base_p_layer: frozen(start.p),
            base_lambda_layer: frozen(start.lambda),
            scale,
            schedule,
            masks: Masks::default(),
        }
    }

    fn trained(&self) -> SingularFactors {
        let [p, lambda, q] = [&self.p_layer, &self.lambda_layer, &self.q_layer].map(Param::val);
        SingularFactors { p, lambda, q }
    }

    fn start(&self) -> SingularFactors {
        let start = [&self.base_p_layer, &self.base_lambda_layer, &self.base_q_layer];
        let [p, lambda, q] = start.map(Param::val);
        SingularFactors { p, lambda, q }
    }

    /// The update as one product of rank $2r$ in what has moved, so that nothing cancels: without
    /// its mask
    /// $$\Delta W = s \big[(P - P_0)\lambda + P_0(\lambda - \lambda_0), \quad P_0\lambda_0\big]
    /// \begin{bmatrix} Q \cr Q - Q_0 \end{bmatrix}.$$
    ///
    /// ```text
    /// left [out, 2r]  right [2r, in·K]
    /// ```
    fn moved(&self) -> (Tensor<2>, Tensor<2>) {
        let SingularFactors { p, lambda, q } = self.trained();
        let SingularFactors { p: p0, lambda: lambda0, q: q0 } = self.start();
        let left = (p - p0.clone()) * lambda.clone() + p0.clone() * (lambda - lambda0.clone());
        let left = Tensor::cat(vec![left, p0 * lambda0], 1);
        (self.scale.apply(left), Tensor::cat(vec![q.clone(), q - q0], 0))
    }

    /// Frobenius norm of what each rank adds to the update.
    fn norms_by_rank(&self) -> Vec<f64> {
        let r = self.rank();
        let (left, right) = self.moved();
        let norm = |i: usize| {
            // Two rank-one matrices: ‖ab + cd‖ from the Gram matrices of their sides.
            let pair = |x: &Tensor<2>, dim| {
                Tensor::cat(vec![x.clone().narrow(dim, i, 1), x.clone().narrow(dim, i + r, 1)], dim)
            };
            let (left, right) = (pair(&left, 1), pair(&right, 0));
            let left = left.clone().transpose().matmul(left);
            let right = right.clone().matmul(right.transpose());
            (left * right).sum().into_scalar::<f64>().max(0.0).sqrt()
        };
        (0..r).map(norm).collect()
    }
}

#[cfg(test)]
mod tests;
