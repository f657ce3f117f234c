//! LoHa: the update is a Hadamard product of two thin products, so that rank $r^2$ is reached with
//! the parameters of rank $2r$.
//!
//! $$\Delta W = \frac{\alpha}{r} \sigma (A_1 B_1) \odot (A_2 B_2), \qquad
//! A_i \in \mathbb R^{out \times r}, \quad B_i \in \mathbb R^{r \times in\cdot K}$$
//!
//! and with Tucker cores on convolutions, `k` running over the kernel,
//!
//! $$\Delta W = \frac{\alpha}{r} \sigma H_1 \odot H_2, \qquad
//! H_{i,ock} = \sum_{p,q} T_{i,pqk} A_{i,po} B_{i,qc}.$$
//!
//! ```text
//! hada_w1_a  A1 [out, r]     normal 0.1    Tucker: [r, out]
//! hada_w1_b  B1 [r, in·K]    normal 1      Tucker: [r, in]
//! hada_w2_a  A2 [out, r]     zeros (with use_scalar: normal 0.1)
//! hada_w2_b  B2 [r, in·K]    normal 1
//! hada_t1    T1 [r, r, K]    normal 0.1    Tucker only, as hada_t2
//! ```
//!
//! `rs_lora` and $\sigma$ are those of [LoRA](super::lora); $\sigma$ is folded into `hada_w1_a` on
//! saving. LyCORIS's merge applies $\alpha/r$ twice and drops $\sigma$; ours is its forward pass.
//!
//! arXiv:2309.14859, after FedPara (arXiv:2108.06098).

mod peft;

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use higanbana_core::{
    Adapter, AdapterError, Budget, Call, Cost, Degree, Features, Init, Op, Outline, Parts,
    PeftForm, Site, SiteKind, Tensors, Variant, algebra, ops,
    parts::{dims, scalar_data, to_data},
    spectrum::{self, SpectrumError},
    training::weigh_rows,
};

use super::dora::Decomposable;
use crate::scale::{LowRankConfig, Scalar, Scale};

/// A LoHa adapter; see the [module](self).
#[derive(Module, Debug)]
pub struct Loha {
    /// $A_1$.
    pub hada_w1_a: Param<Tensor<2>>,
    /// $B_1$.
    pub hada_w1_b: Param<Tensor<2>>,
    /// $A_2$.
    pub hada_w2_a: Param<Tensor<2>>,
    /// $B_2$.
    pub hada_w2_b: Param<Tensor<2>>,
    /// $T_1$.
    pub hada_t1: Option<Param<Tensor<3>>>,
    /// $T_2$.
    pub hada_t2: Option<Param<Tensor<3>>>,
    /// $\sigma$.
    pub scalar: Scalar,
    #[module(skip)]
    scale: Scale,
}

impl Adapter for Loha {
    type Config = LowRankConfig;

    const NAME: &'static str = "loha";
    const TITLE: &'static str = "LoHa";
    const REFERENCE: &'static str = "arXiv:2309.14859";
    const FORMULA: &'static str = r"\frac{\alpha}{r} (A_1 B_1) \odot (A_2 B_2)";
    const RANK: &'static str = "r^2";
    const PARAMETERS: &'static str = r"2r(out + in\,K)";
    const KEYS: &'static [&'static str] =
        &["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", "alpha"];
    const FITTED: Option<&'static str> = Some(
        "alternating least squares, a local optimum no worse than the truncated SVD of its rank",
    );
    const FITTED_LOCALLY: bool = true;
    const VARIANTS: &'static [Variant] = &[
        Variant { name: "tucker", options: "use_tucker = true" },
        Variant { name: "use_scalar", options: "use_scalar = true" },
        Variant { name: "rs_lora", options: "rs_lora = true" },
    ];
    const PEFT: Option<&'static dyn PeftForm> = Some(&peft::Form);

    fn new(site: &Site, config: &LowRankConfig, init: &mut Init) -> Result<Self, AdapterError> {
        let scale = Scale::thin(site, config.rank, config.alpha, config.rs_lora)?;
        let r = config.rank;
        let tucker = config.use_tucker && site.has_taps();
        let (a, b) = if tucker {
            ([r, site.out()], [r, site.input()])
        } else {
            ([site.out(), r], [r, site.cols()])
        };
        let core = |init: &mut Init| {
            tucker.then(|| Param::from_tensor(init.normal([r, r, site.taps()], 0.1)))
        };
        Ok(Self {
            hada_w1_a: Param::from_tensor(init.normal(a, 0.1)),
            hada_w1_b: Param::from_tensor(init.normal(b, 1.0)),
            hada_w2_a: Param::from_tensor(if config.use_scalar {
                init.normal(a, 0.1)
            } else {
                init.zeros(a)
            }),
            hada_w2_b: Param::from_tensor(init.normal(b, 1.0)),
            hada_t1: core(init),
            hada_t2: core(init),
            scalar: Scalar::new(config.use_scalar, init),
            scale,
        })
    }

    fn update(&self, site: &Site, _w0: &Tensor<2>) -> Tensor<2> {
        let [w1_a, w1_b, w2_a, w2_b] = self.factors();
        match (&self.hada_t1, &self.hada_t2) {
            (Some(t1), Some(t2)) => {
                let half = |core: &Param<Tensor<3>>, a: Tensor<2>, b: Tensor<2>| {
                    algebra::tucker(core.val(), a.transpose(), b)
                };
                let update = half(t1, self.scale.apply(w1_a), w1_b) * half(t2, w2_a, w2_b);
                update.reshape([site.out(), site.cols()])
            }
            _ => ops::hadamard_update([w1_a, w1_b, w2_a, w2_b], self.scale.value()),
        }
    }

    /// On linear layers, [`ops::hadamard_linear`].
    fn forward(&self, call: &Call) -> Option<Features> {
        match (call.op, call.x) {
            (Op::Linear, Features::Rows { x, batch }) if self.hada_t1.is_none() => {
                let scale = self.scale.value() * call.strength;
                let y = ops::hadamard_linear(x.clone(), call.w0.clone(), self.factors(), scale);
                Some(Features::Rows { x: y, batch: *batch })
            }
            _ => None,
        }
    }

    /// The fused layer builds the weight once for each call and does no more for each position.
    fn cost(&self, site: &Site, _groups: usize) -> Option<Cost> {
        let fused = site.kind == SiteKind::Linear && self.hada_t1.is_none();
        let rank: usize = self.ranks().iter().sum();
        fused.then(|| Cost { update: (rank + 1) * site.out() * site.cols(), shortcut: 0 })
    }

    fn degree(&self) -> Degree {
        let factors = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"];
        let mut exponents = factors.map(|name| (name, 1)).to_vec();
        exponents.extend(self.hada_t1.as_ref().map(|_| ("hada_t1", 1)));
        exponents.extend(self.hada_t2.as_ref().map(|_| ("hada_t2", 1)));
        exponents.extend(self.scalar.exponent());
        Degree::Update(exponents)
    }

    fn rank_bound(&self, site: &Site) -> usize {
        // A Hadamard product of sums of r1 and r2 outer products is a sum of r1·r2. The columns of
        // a Tucker half stay in the span of its A, so that its rank is r as well.
        let [r1, r2] = self.ranks();
        (r1 * r2).min(site.full_rank())
    }

    fn parameter_count(&self, site: &Site) -> usize {
        let half = |r: usize| match &self.hada_t1 {
            None => r * (site.out() + site.cols()),
            Some(_) => r * (site.out() + site.input() + r * site.taps()),
        };
        self.ranks().map(half).iter().sum::<usize>() + self.scalar.count()
    }

    fn write(&self, site: &Site) -> Tensors {
        let names = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"];
        let mut tensors: Tensors = names
            .into_iter()
            .zip(self.factors())
            .map(|(name, factor)| (name.into(), to_data(&factor, factor.dims())))
            .collect();
        for (name, core) in [("hada_t1", &self.hada_t1), ("hada_t2", &self.hada_t2)] {
            if let Some(core) = core {
                let core = core.val();
                let [p, q, _] = core.dims();
                tensors.insert(name.into(), to_data(&core, site.kernel_shape(p, q)));
            }
        }
        tensors.insert("alpha".into(), scalar_data(self.scale.file_alpha()));
        tensors
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        let [r1, r2] = [parts.dim("hada_w1_b", 0)?, parts.dim("hada_w2_b", 0)?];
        let core = |key: &str, r: usize| {
            parts.unfolded(key, &site.kernel_shape(r, r), [r, r, site.taps()])
        };
        let has_cores = parts.has("hada_t1") || parts.has("hada_t2");
        let t1 = has_cores.then(|| core("hada_t1", r1)).transpose()?;
        let t2 = has_cores.then(|| core("hada_t2", r2)).transpose()?;
        let shapes = |r: usize| match has_cores {
            false => ([site.out(), r], [r, site.cols()]),
            true => ([r, site.out()], [r, site.input()]),
        };
        let ((a1, b1), (a2, b2)) = (shapes(r1), shapes(r2));
        Ok(Self {
            hada_w1_a: Param::from_tensor(parts.tensor("hada_w1_a", a1)?),
            hada_w1_b: Param::from_tensor(parts.tensor("hada_w1_b", b1)?),
            hada_w2_a: Param::from_tensor(parts.tensor("hada_w2_a", a2)?),
            hada_w2_b: Param::from_tensor(parts.tensor("hada_w2_b", b2)?),
            hada_t1: t1.map(Param::from_tensor),
            hada_t2: t2.map(Param::from_tensor),
            scalar: Scalar::none(),
            scale: Scale::read(parts, r1)?,
        })
    }

    fn with_alpha(&self, alpha: f64) -> Option<Self> {
        let (scale, factor) = self.scale.with_alpha(alpha);
        let hada_w1_a = Param::from_tensor(self.hada_w1_a.val().mul_scalar(factor));
        Some(Self { hada_w1_a, scale, ..self.clone() })
    }

    /// The rank axis of the first product, in which the update is linear.
    fn weigh_ranks(&self, weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<Self> {
        let hada_w1_b = weigh_rows(&self.hada_w1_b, weights(self.ranks()[0]));
        Some(Self { hada_w1_b, ..self.clone() })
    }

    fn outline(_kind: SiteKind, tensors: &Tensors) -> Outline {
        let [a, b, core] = ["hada_w1_a", "hada_w1_b", "hada_t1"].map(|key| dims(tensors, key));
        match (a, b, core) {
            (&[out, _], &[r, cols], []) => Outline::unfolded([out, cols], r),
            (&[_, out], &[r, input], [_, _, kernel @ ..]) => {
                Outline::new([&[out, input], kernel].concat(), r)
            }
            _ => Outline::default(),
        }
    }

    /// [`spectrum::fit_hadamard`]: a local optimum that is never worse than the best matrix of rank
    /// $r$. A budget other than a rank takes the smallest $r$ tried, growing by half from the root of
    /// the rank that it names, at which the fit is as close as the best matrix of that rank.
    fn fit(
        _site: &Site,
        update: &Tensor<2>,
        budget: Budget,
    ) -> Option<Result<Self, SpectrumError>> {
        Some(Self::alternating(update, budget))
    }
}

impl Loha {
    /// Ranks of the two products; equal, except in files of other makers.
    fn ranks(&self) -> [usize; 2] {
        [&self.hada_w1_b, &self.hada_w2_b].map(|b| b.lazy_shape()[0])
    }

    fn alternating(update: &Tensor<2>, budget: Budget) -> Result<Self, SpectrumError> {
        let s = spectrum::singular_values(update)?;
        let most = budget.rank(&s);
        let (mut r, goal) = match budget {
            Budget::Rank(_) => (most, f64::INFINITY),
            _ => ((most as f64).sqrt().ceil() as usize, spectrum::truncation_error(&s, most)),
        };
        let mut fit = spectrum::fit_hadamard(update, r)?;
        while fit.error > goal && r < most {
            r = (r + r.div_ceil(2)).min(most);
            fit = spectrum::fit_hadamard(update, r)?;
        }
        let [hada_w1_a, hada_w1_b, hada_w2_a, hada_w2_b] = fit.factors.map(Param::from_tensor);
        Ok(Self {
            hada_w1_a,
            hada_w1_b,
            hada_w2_a,
            hada_w2_b,
            hada_t1: None,
            hada_t2: None,
            scalar: Scalar::none(),
            scale: Scale::one(r),
        })
    }

    /// $\sigma A_1$, $B_1$, $A_2$, $B_2$.
    fn factors(&self) -> [Tensor<2>; 4] {
        let w1_a = self.scalar.apply(self.hada_w1_a.val());
        [w1_a, self.hada_w1_b.val(), self.hada_w2_a.val(), self.hada_w2_b.val()]
    }
}

impl Decomposable for Loha {
    const WITH_DORA: &'static str = "loha+dora";
}

#[cfg(test)]
mod tests;
