//! LoKr: the update is a Kronecker product, so that full rank is within reach of few parameters.
//!
//! $$\Delta W = s \sigma \quad W_1 \otimes W_2, \qquad
//! W_1 \in \mathbb R^{l \times m}, \quad W_2 \in \mathbb R^{k \times n \times K}, \quad
//! l k = out, \quad m n = in$$
//!
//! where either factor may be a product of two thin ones, and $W_2$ on convolutions a Tucker form:
//!
//! ```text
//! lokr_w1    W1 [l, m]        uniform ±1/√m
//! lokr_w1_a  [l, r]           uniform ±1/√r     decompose_both, while 2r < max(l, m)
//! lokr_w1_b  [r, m]           uniform ±1/√m
//! lokr_w2    W2 [k, n, K]     zeros (with use_scalar: uniform)
//! lokr_w2_a  [k, r]           uniform ±1/√r     while 2r < max(k, n); Tucker: [r, k], ±1/√k
//! lokr_w2_b  [r, n·K]         zeros (with use_scalar: uniform); Tucker: [r, n]
//! lokr_t2    [r, r, K]        uniform ±1/√(r·K) Tucker only
//! ```
//!
//! $(l, k)$ and $(m, n)$ are [`factorization`](algebra::factorization)s of `out` and `in`.
//! $s = \alpha/r$, and 1 where both factors are whole, whatever `alpha` and `rs_lora` say; $\sigma$
//! and `rs_lora` are those of [LoRA](super::lora), $\sigma$ folded into the first factor on saving.
//!
//! LyCORIS trains two whole factors under `rs_lora` at $\sqrt r$, saves $\alpha = r\sqrt r$, and reloads
//! them at 1. Read here, its files act as they were trained, wherever they tell: by `rs_lora` in their
//! metadata, or by an $\alpha$ that is $r\sqrt r$ for a rank $r$ that is no square. (8 is $4\sqrt 4$, and
//! what LyCORIS saves at rank 8 without `rs_lora`: it is read as the latter, which a note says.)
//!
//! Every size is read from the file's shapes; LyCORIS guesses them back from the factor rule and
//! cannot reload what it saved with Tucker or unbalanced factors.
//!
//! arXiv:2309.14859, after KronA (arXiv:2212.10650).

mod first;
mod fit;
mod groups;
mod peft;
mod second;

use burn::{module::Module, tensor::Tensor};
use higanbana_core::{
    Adapter, AdapterError, Budget, Call, Cost, Degree, Features, Glimpse, Init, Outline, Parts,
    PeftForm, Site, SiteKind, Tensors, Variant, algebra, parts::scalar_data,
    spectrum::SpectrumError, training::weigh_rows,
};
use serde::{Deserialize, Serialize};

use self::second::Plan;
pub use self::{first::First, second::Second};
use super::dora::Decomposable;
use crate::scale::{Scalar, Scale};

/// Options of [`Lokr`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LokrConfig {
    /// Rank $r$ of the factors that are decomposed.
    pub rank: usize,
    /// $\alpha$; 0 stands for the rank.
    pub alpha: f64,
    /// Smaller part of `in` and of `out`, or the largest divisor below it; -1 makes the two parts as
    /// equal as can be.
    pub factor: i64,
    /// Decompose the first factor as well, unless `full_matrix` keeps both whole.
    pub decompose_both: bool,
    /// Decompose neither.
    pub full_matrix: bool,
    /// Give the larger part of `out` to the first factor.
    pub unbalanced_factorization: bool,
    /// Scale by $\alpha/\sqrt r$ instead of $\alpha/r$; two whole factors have no scale.
    pub rs_lora: bool,
    /// Tucker core on convolutions with more than one tap, where the second factor is decomposed.
    pub use_tucker: bool,
    /// Trained scalar factor.
    pub use_scalar: bool,
}

impl Default for LokrConfig {
    fn default() -> Self {
        Self {
            rank: 4,
            alpha: 1.0,
            factor: -1,
            decompose_both: false,
            full_matrix: false,
            unbalanced_factorization: false,
            rs_lora: false,
            use_tucker: false,
            use_scalar: false,
        }
    }
}

/// A LoKr adapter; see the [module](self).
#[derive(Module, Debug)]
pub struct Lokr {
    /// $W_1$.
    pub w1: First,
    /// $W_2$.
    pub w2: Second,
    /// $\sigma$.
    pub scalar: Scalar,
    #[module(skip)]
    scale: Scale,
}

impl Adapter for Lokr {
    type Config = LokrConfig;

    const NAME: &'static str = "lokr";
    const TITLE: &'static str = "LoKr";
    const REFERENCE: &'static str = "arXiv:2309.14859";
    const FORMULA: &'static str =
        r"\frac{\alpha}{r} (W_1)_{l \times m} \otimes (W_2)_{k \times n K}";
    const RANK: &'static str = r"\operatorname{rank} W_1 \operatorname{rank} W_2";
    const PARAMETERS: &'static str = r"l m + r(k + n K)";
    const KEYS: &'static [&'static str] = &[
        "lokr_w1",
        "lokr_w1_a",
        "lokr_w1_b",
        "lokr_w2",
        "lokr_w2_a",
        "lokr_w2_b",
        "lokr_t2",
        "alpha",
    ];
    const FITTED: Option<&'static str> = Some(
        "the nearest Kronecker product, its second factor cut to what is asked for: a share is one of \
         that factor",
    );
    // Small ranks and factors, so that each option bites on small layers.
    const VARIANTS: &'static [Variant] = &[
        Variant { name: "factor", options: "rank = 1\nfactor = 2" },
        Variant { name: "decompose_both", options: "rank = 1\ndecompose_both = true" },
        Variant { name: "full_matrix", options: "rank = 1\nfactor = 2\nfull_matrix = true" },
        Variant {
            name: "unbalanced",
            options: "rank = 1\nfactor = 2\nunbalanced_factorization = true",
        },
        Variant { name: "tucker", options: "rank = 1\nfactor = 2\nuse_tucker = true" },
        Variant { name: "use_scalar", options: "rank = 1\nuse_scalar = true" },
        Variant { name: "rs_lora", options: "rank = 2\nfactor = 2\nrs_lora = true" },
    ];
    const PEFT: Option<&'static dyn PeftForm> = Some(&peft::Form);

    fn new(site: &Site, config: &LokrConfig, init: &mut Init) -> Result<Self, AdapterError> {
        if config.factor == 0 || config.factor < -1 {
            let reason = format!("factor is {}, give -1 or a positive number", config.factor);
            return Err(AdapterError::option(site, reason));
        }
        let (m, n) = algebra::factorization(site.input(), config.factor);
        let (mut l, mut k) = algebra::factorization(site.out(), config.factor);
        if config.unbalanced_factorization {
            (l, k) = (k, l);
        }
        let r = config.rank;
        let scale = Scale::new(site, r, config.alpha, config.rs_lora)?;
        let rank_1 = (config.decompose_both && !config.full_matrix && saves(r, l, m)).then_some(r);
        let rank_2 = (!config.full_matrix && saves(r, k, n)).then_some(r);
        let plan = Plan {
            dims: [k, n, site.taps()],
            rank: rank_2,
            tucker: config.use_tucker && site.has_taps(),
            silent: !config.use_scalar,
        };
        Ok(Self {
            w1: First::new([l, m], rank_1, init),
            w2: Second::new(&plan, init),
            scalar: Scalar::new(config.use_scalar, init),
            scale: if rank_1.or(rank_2).is_some() { scale } else { Scale::one(r) },
        })
    }

    fn update(&self, site: &Site, _w0: &Tensor<2>) -> Tensor<2> {
        let w2 = self.w2.kernel(self.dims_of_w2(site));
        algebra::kron(self.scaled_w1(), w2).reshape([site.out(), site.cols()])
    }

    /// Acts with $W_2$ on each of the $m$ groups of $n$ channels, then mixes the groups with $W_1$.
    fn added(&self, call: &Call, _y0: &Features) -> Option<Features> {
        self.cost(call.site, call.op.groups())?;
        let [_, m] = self.w1.dims();
        let y = self.w2.act(call, &groups::split(call.x, m));
        Some(groups::mix(y, self.scaled_w1().mul_scalar(call.strength)))
    }

    fn cost(&self, site: &Site, groups: usize) -> Option<Cost> {
        let ([l, m], [k, n, taps]) = (self.w1.dims(), self.dims_of_w2(site));
        let build = self.w1.rank().map_or(0, |r| r * l * m)
            + self.w2.ranks().map_or(0, |[r, _]| r * k * n * taps);
        let update = build + site.out() * site.cols();
        let shortcut = m * self.w2.size([k, n, taps]) + l * m * k;
        (groups == 1).then_some(Cost { update, shortcut })
    }

    fn degree(&self) -> Degree {
        let names = self.w1.names().iter().chain(self.w2.names());
        Degree::Update(names.map(|name| (*name, 1)).chain(self.scalar.exponent()).collect())
    }

    fn rank_bound(&self, site: &Site) -> usize {
        // As a matrix [out, in·K] the update is W1 ⊗ W2 with W2 as [k, n·K], whatever K is.
        self.w1.rank_bound() * self.w2.rank_bound(self.dims_of_w2(site))
    }

    fn parameter_count(&self, site: &Site) -> usize {
        self.w1.size() + self.w2.size(self.dims_of_w2(site)) + self.scalar.count()
    }

    fn write(&self, site: &Site) -> Tensors {
        let mut tensors = Tensors::from([("alpha".into(), scalar_data(self.scale.file_alpha()))]);
        self.w1.write(|w1| self.scalar.apply(w1), &mut tensors);
        self.w2.write(site, &mut tensors);
        tensors
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        let w1 = First::read(site, parts)?;
        let [l, m] = w1.dims();
        let w2 = Second::read(site, [site.out() / l, site.input() / m], parts)?;
        let scale = match rank(&w1, &w2) {
            Some(r) => Scale::read(parts, r)?,
            None => scale_of_whole(parts)?,
        };
        Ok(Self { w1, w2, scalar: Scalar::none(), scale })
    }

    /// Of two whole factors whose $\alpha$ may have been made by `rs_lora`, where nothing tells.
    fn assumption(module: &Glimpse) -> Option<&'static str> {
        let is_whole = ["lokr_w1", "lokr_w2"].iter().all(|key| module.keys.contains(key));
        let alpha = module.alpha.unwrap_or_default();
        let root = alpha.cbrt().round();
        let is_open = module.arguments.is_empty() && root >= 2.0 && root.powi(3) == alpha;
        (is_whole && is_open).then_some(
            "LoKr of two whole factors whose alpha is a cube, read as trained without rs_lora; if \
             LyCORIS trained it with, its update is ∛alpha times as large, which nothing tells",
        )
    }

    /// The rank axis of $W_2$, or of $W_1$ where only that is decomposed.
    fn weigh_ranks(&self, weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<Self> {
        let mut weighed = self.clone();
        let axis = weighed.w2.lokr_w2_b.as_mut().or(weighed.w1.lokr_w1_b.as_mut())?;
        *axis = weigh_rows(axis, weights(axis.lazy_shape()[0]));
        Some(weighed)
    }

    fn outline(_kind: SiteKind, tensors: &Tensors) -> Outline {
        let (w1, w2) = (First::outline(tensors), Second::outline(tensors));
        let rank = w1.rank.or(w2.rank);
        let (&[Some(l), Some(m)], &[Some(k), Some(n), ref kernel @ ..]) =
            (&w1.shape[..], &w2.shape[..])
        else {
            return Outline { rank, ..Outline::default() };
        };
        let size = |a: usize, b: usize| Some(a.saturating_mul(b));
        let shape = [&[size(l, k), size(m, n)], kernel].concat();
        Outline { shape, unfolded: w2.unfolded, rank }
    }

    /// With factors of these sizes: those that are decomposed are cut, which is the best where only
    /// one is.
    fn resized(
        &self,
        site: &Site,
        _w0: &Tensor<2>,
        budget: Budget,
    ) -> Option<Result<Self, SpectrumError>> {
        Some(fit::cut(self, site, budget))
    }

    /// Van Loan and Pitsianis: the nearest Kronecker product, with factors as equal as can be.
    /// $W_2$ is then cut to the budget's rank where [`Adapter::new`] would decompose it at that
    /// rank; else it stays whole, and the fit is the optimum.
    fn fit(site: &Site, update: &Tensor<2>, budget: Budget) -> Option<Result<Self, SpectrumError>> {
        Some(fit::nearest(site, update, budget))
    }

    /// Van Loan and Pitsianis, [`spectrum::nearest_kron`](higanbana_core::spectrum::nearest_kron); there is no
    /// closed form once a factor is decomposed.
    fn nearest(
        &self,
        site: &Site,
        _w0: &Tensor<2>,
        target: &Tensor<2>,
    ) -> Option<Result<Self, SpectrumError>> {
        match (self.w1.rank(), self.w2.ranks()) {
            (None, None) => Some(fit::whole(site, target, self.w1.dims())),
            _ => None,
        }
    }
}

impl Lokr {
    /// Of these factors as they are.
    fn of(w1: First, w2: Second) -> Self {
        let scale = Scale::one(rank(&w1, &w2).unwrap_or(1));
        Self { w1, w2, scalar: Scalar::none(), scale }
    }

    /// `[k, n, K]`.
    fn dims_of_w2(&self, site: &Site) -> [usize; 3] {
        let [l, m] = self.w1.dims();
        [site.out() / l, site.input() / m, site.taps()]
    }

    /// $s \sigma W_1$.
    fn scaled_w1(&self) -> Tensor<2> {
        self.scale.apply(self.scalar.apply(self.w1.matrix()))
    }
}

/// The rank that divides `alpha`; `None` where both factors are whole.
fn rank(w1: &First, w2: &Second) -> Option<usize> {
    w1.rank().or(w2.ranks().map(|[_, r]| r))
}

/// The scale at which LyCORIS trained two whole factors, as far as their file tells; see the
/// [module](self). That of ai-toolkit, a rank without a bound, is infinite in 16 bits, and scales nothing.
///
/// # Errors
/// When `alpha` is not one number.
fn scale_of_whole(parts: &Parts) -> Result<Scale, AdapterError> {
    let alpha = match parts.scalar("alpha") {
        Ok(Some(alpha)) => alpha,
        Ok(None) => return Ok(Scale::one(1)),
        Err(AdapterError::NotFinite { value, .. }) if value == "inf" => return Ok(Scale::one(1)),
        Err(error) => return Err(error),
    };
    let r = alpha.max(0.0).powf(2.0 / 3.0).round();
    let is_said = parts.is_set("rs_lora");
    // Of a rank that is a square, alpha could as well be the rank.
    let rounding = parts.epsilon("alpha");
    let is_told = alpha.fract() != 0.0 && (r * r.sqrt() - alpha).abs() <= rounding * alpha;
    Ok(Scale::of_file(if is_said || is_told { r.sqrt() } else { 1.0 }, alpha))
}

/// LyCORIS's rule: a factor is decomposed while the rank is below half its larger side.
fn saves(rank: usize, rows: usize, cols: usize) -> bool {
    rank < rows.max(cols).div_ceil(2)
}

impl Decomposable for Lokr {
    const WITH_DORA: &'static str = "lokr+dora";

    fn begins(tensors: &Tensors) -> bool {
        ["lokr_w1", "lokr_w1_a"].iter().any(|key| tensors.contains_key(*key))
    }
}

#[cfg(test)]
mod tests;
