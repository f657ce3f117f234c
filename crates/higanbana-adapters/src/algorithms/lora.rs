//! LoRA: the update is a product of two thin matrices. On convolutions the field calls it LoCon.
//!
//! $$\Delta W = \frac{\alpha}{r} \sigma B A, \qquad B \in \mathbb R^{out \times r}, \quad
//! A \in \mathbb R^{r \times in\cdot K}$$
//!
//! and with a Tucker core on convolutions, `k` running over the kernel,
//!
//! $$\Delta W_{o,i,k} = \frac{\alpha}{r} \sigma \sum_{p,q} G_{p,q,k} B_{o,p} A_{q,i}.$$
//!
//! ```text
//! lora_up    B  [out, r]      zeros (with use_scalar: as A)
//! lora_down  A  [r, in·K]     uniform ±1/√(in·K)
//! lora_mid   G  [r, r, K]     Tucker only; then A is [r, in]
//! ```
//!
//! With `rs_lora` the scale is $\alpha/\sqrt r$ (arXiv:2312.03732); the file then holds
//! $\alpha\sqrt r$, so that $\alpha/r$ is right for every reader. $\sigma$ is a trained number that
//! starts at 0 and is folded into `lora_up` on saving.
//!
//! LoRA: arXiv:2106.09685. LoCon and Tucker: arXiv:2309.14859.

mod peft;

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use higanbana_core::{
    Adapter, AdapterError, Budget, Call, Cost, Degree, Features, Init, Outline, Parts, PeftForm,
    Site, SiteKind, Tensors, Variant, algebra,
    parts::{dims, scalar_data, to_data},
    spectrum::{self, SpectrumError},
    training::weigh_rows,
};

use super::dora::Decomposable;
use crate::scale::{LowRankConfig, Scalar, Scale};

/// A LoRA adapter; see the [module](self).
#[derive(Module, Debug)]
pub struct Lora {
    /// $B$.
    pub lora_up: Param<Tensor<2>>,
    /// $A$.
    pub lora_down: Param<Tensor<2>>,
    /// $G$.
    pub lora_mid: Option<Param<Tensor<3>>>,
    /// $\sigma$.
    pub scalar: Scalar,
    #[module(skip)]
    scale: Scale,
}

impl Adapter for Lora {
    type Config = LowRankConfig;

    const NAME: &'static str = "lora";
    const CONVOLUTIONAL_NAME: Option<&'static str> = Some("locon");
    const TITLE: &'static str = "LoRA / LoCon";
    const REFERENCE: &'static str = "arXiv:2106.09685";
    const FORMULA: &'static str = r"\frac{\alpha}{r} B A";
    const RANK: &'static str = "r";
    const PARAMETERS: &'static str = r"r(out + in\,K)";
    const KEYS: &'static [&'static str] =
        &["lora_up.weight", "lora_down.weight", "lora_mid.weight", "alpha"];
    const FITTED: Option<&'static str> = Some("the truncated SVD, the nearest of its rank");
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
        let cols = if tucker { site.input() } else { site.cols() };
        let up = if config.use_scalar {
            init.kaiming_uniform([site.out(), r], r)
        } else {
            init.zeros([site.out(), r])
        };
        Ok(Self {
            lora_up: Param::from_tensor(up),
            lora_down: Param::from_tensor(init.kaiming_uniform([r, cols], cols)),
            lora_mid: tucker.then(|| {
                Param::from_tensor(init.kaiming_uniform([r, r, site.taps()], r * site.taps()))
            }),
            scalar: Scalar::new(config.use_scalar, init),
            scale,
        })
    }

    fn update(&self, site: &Site, _w0: &Tensor<2>) -> Tensor<2> {
        let up = self.scaled_up();
        let down = self.lora_down.val();
        match &self.lora_mid {
            None => up.matmul(down),
            Some(core) => algebra::tucker(core.val(), up, down).reshape([site.out(), site.cols()]),
        }
    }

    fn added(&self, call: &Call, _y0: &Features) -> Option<Features> {
        self.cost(call.site, call.op.groups())?;
        let inner = match &self.lora_mid {
            None => call.apply(self.lora_down.val()),
            Some(core) => {
                let core = core.val();
                let [r, s, taps] = core.dims();
                call.apply_to(&call.x.mix(self.lora_down.val()), core.reshape([r, s * taps]))
            }
        };
        Some(inner.mix(self.scaled_up().mul_scalar(call.strength)))
    }

    fn cost(&self, site: &Site, groups: usize) -> Option<Cost> {
        let update = site.out() * self.rank() * site.cols();
        (groups == 1).then(|| Cost { update, shortcut: self.parameter_count(site) })
    }

    fn degree(&self) -> Degree {
        let mut exponents = vec![("lora_up", 1), ("lora_down", 1)];
        exponents.extend(self.lora_mid.as_ref().map(|_| ("lora_mid", 1)));
        exponents.extend(self.scalar.exponent());
        Degree::Update(exponents)
    }

    fn rank_bound(&self, site: &Site) -> usize {
        // A Tucker core holds a matrix of rank r for every tap, between the same B and A: the
        // columns of the update stay in the span of B.
        self.rank().min(site.full_rank())
    }

    fn parameter_count(&self, site: &Site) -> usize {
        let r = self.rank();
        let factors = match &self.lora_mid {
            None => r * (site.out() + site.cols()),
            Some(_) => r * (site.out() + site.input() + r * site.taps()),
        };
        factors + self.scalar.count()
    }

    fn write(&self, site: &Site) -> Tensors {
        let r = self.rank();
        let up = self.scalar.apply(self.lora_up.val());
        let down_shape = match &self.lora_mid {
            None => site.kernel_shape(r, site.input()),
            Some(_) => site.pointwise_shape(r, site.input()),
        };
        let mut tensors = Tensors::from([
            ("lora_up.weight".into(), to_data(&up, site.pointwise_shape(site.out(), r))),
            ("lora_down.weight".into(), to_data(&self.lora_down.val(), down_shape)),
            ("alpha".into(), scalar_data(self.scale.file_alpha())),
        ]);
        if let Some(core) = &self.lora_mid {
            tensors.insert("lora_mid.weight".into(), to_data(&core.val(), site.kernel_shape(r, r)));
        }
        tensors
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        let r = parts.dim("lora_down.weight", 0)?;
        let (down, mid) = if parts.has("lora_mid.weight") {
            let kernel = site.kernel_shape(r, r);
            let mid = parts.unfolded("lora_mid.weight", &kernel, [r, r, site.taps()])?;
            (parts.tensor("lora_down.weight", [r, site.input()])?, Some(mid))
        } else {
            let kernel = site.kernel_shape(r, site.input());
            (parts.unfolded("lora_down.weight", &kernel, [r, site.cols()])?, None)
        };
        Ok(Self {
            lora_up: Param::from_tensor(parts.tensor("lora_up.weight", [site.out(), r])?),
            lora_down: Param::from_tensor(down),
            lora_mid: mid.map(Param::from_tensor),
            scalar: Scalar::none(),
            scale: Scale::read(parts, r)?,
        })
    }

    /// Factors side by side, so that ranks add:
    ///
    /// $$\sum_i \mu_i s_i B_i A_i = s \begin{bmatrix} \frac{\mu_1 s_1}{s} B_1 & \frac{\mu_2 s_2}{s} B_2 &
    /// \cdots \end{bmatrix} \begin{bmatrix} A_1 \cr A_2 \cr \vdots \end{bmatrix}, \qquad
    /// s = \max_i |\mu_i s_i|$$
    ///
    /// With $s$ the largest, factors of half precision cannot overflow, and where all are equal none is
    /// rounded.
    fn sum(site: &Site, terms: &[(f64, &Self)]) -> Option<Self> {
        let scales = || terms.iter().map(|(strength, it)| strength * it.scale.value());
        let s = scales().map(f64::abs).fold(0.0, f64::max);
        let up = terms
            .iter()
            .zip(scales())
            .map(|((_, it), scale)| it.scalar.apply(it.lora_up.val()).mul_scalar(scale / s));
        let up = Tensor::cat(up.collect(), 1);
        let down = Tensor::cat(terms.iter().map(|(_, it)| it.whole_down(site)).collect(), 0);
        let r = up.dims()[1];
        Some(Self {
            lora_up: Param::from_tensor(up),
            lora_down: Param::from_tensor(down),
            lora_mid: None,
            scalar: Scalar::none(),
            scale: Scale::of_file(s, s * r as f64),
        })
    }

    fn with_alpha(&self, alpha: f64) -> Option<Self> {
        let (scale, factor) = self.scale.with_alpha(alpha);
        let lora_up = Param::from_tensor(self.lora_up.val().mul_scalar(factor));
        Some(Self { lora_up, scale, ..self.clone() })
    }

    fn weigh_ranks(&self, weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<Self> {
        let lora_down = weigh_rows(&self.lora_down, weights(self.rank()));
        Some(Self { lora_down, ..self.clone() })
    }

    fn outline(_kind: SiteKind, tensors: &Tensors) -> Outline {
        let [up, down, mid] =
            ["lora_up.weight", "lora_down.weight", "lora_mid.weight"].map(|key| dims(tensors, key));
        let (&[out, ..], &[r, input, ref kernel @ ..]) = (up, down) else {
            return Outline::default();
        };
        let kernel = mid.get(2..).unwrap_or(kernel);
        Outline::new([&[out, input], kernel].concat(), r)
    }

    /// Eckart-Young: the truncated singular value decomposition, [`spectrum::low_rank`].
    fn fit(
        _site: &Site,
        update: &Tensor<2>,
        budget: Budget,
    ) -> Option<Result<Self, SpectrumError>> {
        Some(spectrum::low_rank(update, budget).map(|[up, down]| Self {
            scale: Scale::one(down.dims()[0]),
            lora_up: Param::from_tensor(up),
            lora_down: Param::from_tensor(down),
            lora_mid: None,
            scalar: Scalar::none(),
        }))
    }

    /// Eckart-Young again; there is no closed form with a Tucker core.
    fn nearest(
        &self,
        site: &Site,
        _w0: &Tensor<2>,
        target: &Tensor<2>,
    ) -> Option<Result<Self, SpectrumError>> {
        if self.lora_mid.is_some() {
            None
        } else {
            Self::fit(site, target, Budget::Rank(self.rank()))
        }
    }
}

impl Lora {
    /// $A$ over all taps: a core is multiplied into it, which leaves the rank as it is.
    fn whole_down(&self, site: &Site) -> Tensor<2> {
        let (r, down) = (self.rank(), self.lora_down.val());
        match &self.lora_mid {
            None => down,
            Some(core) => {
                let same = Tensor::<2>::eye(r, &down.device()).cast(down.dtype());
                algebra::tucker(core.val(), same, down).reshape([r, site.cols()])
            }
        }
    }

    /// Rank $r$.
    pub fn rank(&self) -> usize {
        self.lora_up.lazy_shape()[1]
    }

    /// The same scale between other factors; without a core.
    pub(super) fn with_factors(
        &self,
        lora_up: Param<Tensor<2>>,
        lora_down: Param<Tensor<2>>,
    ) -> Self {
        let scale = self.scale.at_rank(lora_up.lazy_shape()[1]);
        Self { lora_up, lora_down, lora_mid: None, scale, ..self.clone() }
    }

    /// $\frac{\alpha}{r}\sigma B$.
    pub(super) fn scaled_up(&self) -> Tensor<2> {
        self.scalar.apply(self.scale.apply(self.lora_up.val()))
    }
}

impl Decomposable for Lora {
    const WITH_DORA: &'static str = "lora+dora";
}
