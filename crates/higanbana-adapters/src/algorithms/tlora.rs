//! T-LoRA: a low-rank update with trained singular values, whose rank shrinks where a diffusion
//! step is noisy. It starts at singular vectors of the weight and adds what it has moved since.
//!
//! $$\Delta W = \frac{\alpha}{r}\big(P \operatorname{diag}(\lambda \circ m_t)\, Q
//! - P_0 \operatorname{diag}(\lambda_0 \circ m_t)\, Q_0\big)$$
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

use burn::{
    module::{Module, Param},
    tensor::{FloatDType, Tensor, TensorData},
};
use higanbana_core::{
    Adapter, AdapterError, Call, Condition, Cost, Degree, Features, Init, Outline, Parts, Site,
    SiteKind, Tensors, Variant,
    parts::{dims, scalar_data, to_data},
    spectrum,
    training::weigh_rows,
};
use serde::{Deserialize, Serialize};

use crate::{
    scale::Scale,
    schedule::RankSchedule,
    singular::{SingularFactors, Stretch},
};

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
    active: Vec<usize>,
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
        let scale = Scale::new(site, r, config.alpha, false)?;
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
        self.masked(left).matmul(right)
    }

    fn added(&self, call: &Call, _y0: &Features) -> Option<Features> {
        let groups = call.op.groups();
        let (left, right) = self.moved();
        let mut inner = call.apply(right.repeat_dim(0, groups));
        if !self.active.is_empty() {
            inner = inner.scale_each(self.masks(2).repeat_dim(1, groups));
        }
        Some(inner.mix_groups(left.mul_scalar(call.strength), groups))
    }

    fn cost(&self, site: &Site, groups: usize) -> Option<Cost> {
        let r = 2 * self.rank();
        let shared = self.active.len() <= 1;
        let update = if shared { site.out() * r * site.cols() } else { usize::MAX };
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
        let product = |p: &Param<Tensor<2>>, lambda: Tensor<2>, q: &Param<Tensor<2>>| {
            self.scale.apply(p.val() * self.masked(lambda)).matmul(q.val())
        };
        let lambda = self.lambda_layer.val().mul_scalar(gamma);
        product(&self.p_layer, lambda, &self.q_layer)
            - product(&self.base_p_layer, self.base_lambda_layer.val(), &self.base_q_layer)
    }

    fn rank_bound(&self, site: &Site) -> usize {
        site.full_rank().min(2 * self.rank())
    }

    fn parameter_count(&self, site: &Site) -> usize {
        self.rank() * (site.out() + site.cols() + 1)
    }

    fn write(&self, site: &Site) -> Tensors {
        let r = self.rank();
        let q = |q: &Param<Tensor<2>>| to_data(&q.val(), site.kernel_shape(r, site.input()));
        let p = |p: &Param<Tensor<2>>| to_data(&p.val(), site.pointwise_shape(site.out(), r));
        let lambda = |lambda: &Param<Tensor<2>>| to_data(&lambda.val(), [1, r]);
        let mut tensors = Tensors::from([
            ("q_layer.weight".into(), q(&self.q_layer)),
            ("p_layer.weight".into(), p(&self.p_layer)),
            ("lambda_layer".into(), lambda(&self.lambda_layer)),
            ("base_q_layer.weight".into(), q(&self.base_q_layer)),
            ("base_p_layer.weight".into(), p(&self.base_p_layer)),
            ("base_lambda_layer".into(), lambda(&self.base_lambda_layer)),
            ("alpha".into(), scalar_data(self.scale.file_alpha())),
        ]);
        tensors.extend(self.schedule.write());
        tensors
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        let r = parts.dim("q_layer.weight", 0)?;
        let trained = factors(site, parts, "", r)?;
        let start = if parts.has("base_lambda_layer") {
            factors(site, parts, "base_", r)?
        } else {
            let svd = spectrum::svd(parts.base()?);
            let svd = svd.map_err(|error| AdapterError::numeric(site, error))?;
            SingularFactors::of(&svd, Stretch::Principal, r, &trained.q.device(), trained.q.dtype())
        };
        Ok(Self::between(trained, start, Scale::read(parts, r)?, RankSchedule::read(parts)?))
    }

    fn weigh_ranks(&self, weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<Self> {
        let weights = weights(self.rank());
        let [q_layer, base_q_layer] =
            [&self.q_layer, &self.base_q_layer].map(|q| weigh_rows(q, weights.clone()));
        Some(Self { q_layer, base_q_layer, ..self.clone() })
    }

    fn condition(&mut self, condition: &Condition) {
        let active = |t: &f64| self.schedule.active(self.rank(), *t, condition.horizon);
        self.active = condition.timesteps.iter().map(active).collect();
        if self.active.iter().all(|active| *active == self.active[0]) {
            self.active.truncate(1);
        }
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

    /// How far the factors are from orthogonal, to be added to a loss:
    /// $\lVert P^\top P - I \rVert_F^2 + \lVert Q Q^\top - I \rVert_F^2$.
    pub fn orthogonality(&self) -> Tensor<1> {
        let (p, q) = (self.p_layer.val(), self.q_layer.val());
        let identity = Tensor::<2>::eye(self.rank(), &p.device()).cast(FloatDType::from(p.dtype()));
        let departure = |gram: Tensor<2>| (gram - identity.clone()).square().sum();
        departure(p.clone().transpose().matmul(p)) + departure(q.clone().matmul(q.transpose()))
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
            active: Vec::new(),
        }
    }

    /// The update as one product of rank $2r$ in what has moved, so that nothing cancels: without
    /// its mask
    /// $$\Delta W = s\,\big[(P - P_0)\lambda + P_0(\lambda - \lambda_0),\; P_0\lambda_0\big]\,
    /// \begin{bmatrix} Q \\ Q - Q_0 \end{bmatrix}.$$
    ///
    /// ```text
    /// left [out, 2r]  right [2r, in·K]
    /// ```
    fn moved(&self) -> (Tensor<2>, Tensor<2>) {
        let (p, base_p) = (self.p_layer.val(), self.base_p_layer.val());
        let (q, base_q) = (self.q_layer.val(), self.base_q_layer.val());
        let (lambda, base_lambda) = (self.lambda_layer.val(), self.base_lambda_layer.val());
        let left =
            (p - base_p.clone()) * lambda.clone() + base_p.clone() * (lambda - base_lambda.clone());
        let left = Tensor::cat(vec![left, base_p * base_lambda], 1);
        (self.scale.apply(left), Tensor::cat(vec![q.clone(), q - base_q], 0))
    }

    /// Columns of ranks, `[rows, r]` or those of both halves of [`Tlora::moved`], with the one mask
    /// that there is.
    fn masked(&self, columns: Tensor<2>) -> Tensor<2> {
        match self.active[..] {
            [] => columns,
            [_] => {
                let halves = columns.dims()[1] / self.rank();
                columns * self.masks(halves)
            }
            _ => panic!(
                "the samples of the batch act with {:?} ranks and share no weight: use layers that \
                 take an adapter's shortcut, or one timestep for each call",
                self.active
            ),
        }
    }

    /// The masks of the samples, each repeated side by side: `[1 or batch, times·r]`.
    fn masks(&self, times: usize) -> Tensor<2> {
        let r = self.rank();
        let mask = |&active: &usize| (0..times * r).map(move |i| f64::from(i % r < active));
        let masks: Vec<f64> = self.active.iter().flat_map(mask).collect();
        let q = self.q_layer.val();
        let data = TensorData::new(masks, [self.active.len(), times * r]);
        Tensor::from_data(data, (&q.device(), q.dtype()))
    }
}

/// The factors of a file, trained or (with `base_`) frozen.
fn factors(
    site: &Site,
    parts: &Parts,
    prefix: &str,
    r: usize,
) -> Result<SingularFactors, AdapterError> {
    let key = |stem: &str| format!("{prefix}{stem}");
    Ok(SingularFactors {
        p: parts.tensor(&key("p_layer.weight"), [site.out(), r])?,
        lambda: parts.tensor(&key("lambda_layer"), [1, r])?,
        q: parts.tensor(&key("q_layer.weight"), [r, site.cols()])?,
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};
    use higanbana_core::{Op, SiteKind};

    use super::*;

    fn adapter(options: &str) -> (Site, Tensor<2>, Tlora) {
        let site = Site::new("l", SiteKind::Linear, [6, 5]);
        let empty = Tensor::zeros([6, 5], (&Device::default(), DType::F64));
        let w0 = Init::new(&site, empty, 1).normal([6, 5], 1.0);
        let config = toml::from_str(options).unwrap();
        let adapter = Tlora::new(&site, &config, &mut Init::new(&site, w0.clone(), 2)).unwrap();
        (site, w0, adapter)
    }

    fn largest<const D: usize>(x: Tensor<D>) -> f64 {
        x.abs().max().into_scalar()
    }

    #[test]
    fn twice_the_singular_values_add_the_weight_once() {
        let (site, w0, mut tlora) = adapter("rank = 5\nalpha = 5.0");
        assert_eq!(largest(tlora.update(&site, &w0)), 0.0);
        assert!(largest(tlora.orthogonality()) < 1e-28);
        tlora.lambda_layer = tlora.lambda_layer.map(|lambda| lambda * 2.0);
        assert!(largest(tlora.update(&site, &w0) - w0) < 1e-14);
    }

    #[test]
    fn every_sample_of_a_batch_has_its_own_mask() {
        let (site, w0, mut tlora) = adapter("sig_type = \"last\"");
        tlora.q_layer = tlora.q_layer.map(|q| q * 1.5);
        let rows =
            Features::Rows { x: Tensor::<2>::eye(5, &w0.device()).cast(DType::F64), batch: 5 };
        let call = Call { site: &site, w0: &w0, x: &rows, op: &Op::Linear, strength: 1.0 };
        tlora.condition(&Condition::at([0.0, 250.0, 500.0, 750.0, 999.0], 1000.0));
        let Some(Features::Rows { x: added, .. }) = tlora.added(&call, &rows) else {
            panic!("a linear layer has a shortcut")
        };
        for (sample, t) in [0.0, 250.0, 500.0, 750.0, 999.0].into_iter().enumerate() {
            tlora.condition(&Condition::at([t, t], 1000.0));
            let column = tlora.update(&site, &w0).narrow(1, sample, 1).transpose();
            assert!(largest(column - added.clone().narrow(0, sample, 1)) < 1e-15, "{t}");
        }
    }

    #[test]
    #[should_panic(expected = "[4, 1] ranks")]
    fn a_batch_of_different_masks_has_no_weight() {
        let (site, w0, mut tlora) = adapter("");
        tlora.condition(&Condition::at([0.0, 999.0], 1000.0));
        tlora.update(&site, &w0);
    }
}
