//! OFTv2: blocks of a layer's inputs are turned, by rotations that are a short series in their generators.
//!
//! $$W = W_0 R^\top, \qquad R = \operatorname{blockdiag}(R_1, \dots, R_k), \qquad
//! R_i = I + 2 Q_i + 2 Q_i^2 + 2 Q_i^3 + Q_i^4, \qquad Q_i = \tfrac 1 s (V_i - V_i^\top)$$
//!
//! so that $W x = W_0 (R^\top x)$; the inputs of a convolution are channels and taps. The series is the
//! beginning of Neumann's for the Cayley transform $(I + Q)(I - Q)^{-1}$, so that
//! $R^\top R = I + O(\lVert Q \rVert^4)$: singular values are nearly kept.
//!
//! ```text
//! oft_R.weight      V  [k, b(b-1)/2]  zeros: what stands above the diagonal, row by row; k·b = in·K,
//!                      [1, b(b-1)/2]  with `block_share`, one block for all
//! oft_R.scaled_oft  one number: s = 2 √(b-1), without it s = 1
//! oft_R.terms       one number: terms of the series as PEFT counts them, here 5; 0 the whole of it
//! ```
//!
//! `rank` asks for a block size: `b` is the nearest divisor of `in·K` that is 2 at least, the smaller of two.
//!
//! Files without `oft_R.terms` are OneTrainer's. It has this series alone and turns the weights of convolutions
//! instead of their inputs: there $W = W_0 R$, and so they are read, and written again. The tensor stands for
//! PEFT's configuration. Its whole transform is the other way round, $R = (I - Q)(I + Q)^{-1}$, and of $t \ge 3$
//! terms the last power is $Q^m$, $m = \max(t - 1, 3)$, without the factor 2 of the others (PEFT 0.18 and later).
//!
//! There is no shortcut: it would be the layer once more, on turned inputs, where the update costs `b` for each
//! entry of the weight.
//!
//! OFTv2: arXiv:2506.19847. Names, scale and the side of convolutions are OneTrainer's.

mod peft;

use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor},
};
use higanbana_core::{
    Adapter, AdapterError, Degree, Init, Outline, Parts, PeftForm, Site, SiteKind, Tensors,
    Variant, algebra,
    parts::{dims, scalar_data, to_data},
};
use serde::{Deserialize, Serialize};

const WEIGHT: &str = "oft_R.weight";
const SCALED: &str = "oft_R.scaled_oft";
const TERMS: &str = "oft_R.terms";

/// More terms change no digit of a rotation that the series describes at all.
const MOST_TERMS: usize = 64;

/// Options of [`Oftv2`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Oftv2Config {
    /// Size of the blocks asked for.
    pub rank: usize,
    /// One block for all groups of inputs.
    pub block_share: bool,
    /// Divide the generators by $2\sqrt{b-1}$, so that one learning rate serves every block size.
    pub scaled: bool,
    /// The whole Cayley transform in place of the series.
    pub exact: bool,
}

impl Default for Oftv2Config {
    fn default() -> Self {
        Self { rank: 4, block_share: false, scaled: false, exact: false }
    }
}

/// The rotation that replaces the Cayley transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Series {
    /// Up to this power.
    UpTo(usize),
    /// That of OneTrainer, up to the fourth power, which turns the weights of convolutions instead of their
    /// inputs.
    OfWeights,
    /// The whole transform, as PEFT has it.
    Whole,
}

/// An OFTv2 adapter; see the [module](self).
#[derive(Module, Debug)]
pub struct Oftv2 {
    /// $V$ above its diagonal, `[k, b(b-1)/2]`.
    pub oft_r: Param<Tensor<2>>,
    #[module(skip)]
    scaled: bool,
    #[module(skip)]
    series: Series,
}

impl Adapter for Oftv2 {
    type Config = Oftv2Config;

    const NAME: &'static str = "oftv2";
    const TITLE: &'static str = "OFTv2";
    const REFERENCE: &'static str = "arXiv:2506.19847";
    const FORMULA: &'static str = r"W_0 R^\top - W_0,\; R = I + 2Q + 2Q^2 + 2Q^3 + Q^4";
    const RANK: &'static str = r"\min(out, 2\lfloor b/2 \rfloor\,in\,K/b)";
    const PARAMETERS: &'static str = r"in\,K\,(b-1)/2";
    const KEYS: &'static [&'static str] = &[WEIGHT, SCALED, TERMS];
    const NEEDS_BASE: bool = true;
    const VARIANTS: &'static [Variant] = &[
        Variant { name: "block_share", options: "rank = 2\nblock_share = true" },
        Variant { name: "scaled", options: "scaled = true" },
        Variant { name: "exact", options: "exact = true" },
    ];
    const PEFT: Option<&'static dyn PeftForm> = Some(&peft::Form);

    fn new(site: &Site, config: &Oftv2Config, init: &mut Init) -> Result<Self, AdapterError> {
        if config.rank == 0 {
            let reason = "rank 0 leaves no blocks, give at least 2";
            return Err(AdapterError::option(site, reason));
        }
        let b = block_size(site.cols(), config.rank)
            .ok_or_else(|| AdapterError::option(site, "one input alone cannot be turned"))?;
        let k = if config.block_share { 1 } else { site.cols() / b };
        Ok(Self {
            oft_r: Param::from_tensor(init.zeros([k, entries(b)])),
            scaled: config.scaled,
            series: if config.exact { Series::Whole } else { Series::UpTo(4) },
        })
    }

    fn update(&self, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        self.update_gamma(site, w0, 1.0)
    }

    fn update_gamma(&self, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        let [_, b, _] = self.dims();
        let d = self.deviations(gamma).expand([site.cols() / b, b, b]);
        let columns = w0.clone().transpose();
        let turned = match self.series {
            Series::OfWeights if site.kind != SiteKind::Linear => {
                algebra::rotate_rows_transposed(d, columns)
            }
            _ => algebra::rotate_rows(d, columns),
        };
        turned.transpose()
    }

    /// Homogeneous in what the series is made of.
    fn degree(&self) -> Degree {
        let map = "γ Q, before the series that makes it a rotation";
        Degree::Inside { map, exponents: vec![("oft_r", 1)] }
    }

    fn rank_bound(&self, site: &Site) -> usize {
        // R - I is Q times another matrix, and a skew one has even rank.
        let [_, b, _] = self.dims();
        (site.cols() / b * (b - b % 2)).min(site.out())
    }

    fn keeps_singular_values(&self) -> bool {
        self.series == Series::Whole
    }

    fn parameter_count(&self, _site: &Site) -> usize {
        let [k, _, n] = self.dims();
        k * n
    }

    fn write(&self, _site: &Site) -> Tensors {
        let [k, _, n] = self.dims();
        let terms = match self.series {
            Series::OfWeights => None,
            Series::UpTo(power) => Some(power + 1),
            Series::Whole => Some(0),
        };
        let numbers = [(SCALED, self.scaled.then_some(1)), (TERMS, terms)];
        let numbers = numbers.into_iter().filter_map(|(key, number)| Some((key, number?)));
        [(WEIGHT.to_string(), to_data(&self.oft_r.val(), [k, n]))]
            .into_iter()
            .chain(numbers.map(|(key, number)| (key.into(), scalar_data(number as f64))))
            .collect()
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        let (k, n) = (parts.dim(WEIGHT, 0)?, parts.dim(WEIGHT, 1)?);
        let fits = |b: &usize| match k {
            1 => site.cols().is_multiple_of(*b),
            k => k.checked_mul(*b) == Some(site.cols()),
        };
        if block_of(n).filter(fits).is_none() {
            let expected = format!("[k, b(b-1)/2] with k·b = {}, or k = 1", site.cols());
            return Err(parts.misshapen(WEIGHT, expected));
        }
        Ok(Self {
            oft_r: Param::from_tensor(parts.tensor(WEIGHT, [k, n])?),
            scaled: parts.scalar(SCALED)?.is_some_and(|flag| flag != 0.0),
            series: Series::read(parts)?,
        })
    }

    fn outline(_kind: SiteKind, tensors: &Tensors) -> Outline {
        match dims(tensors, WEIGHT) {
            // One block may stand for all.
            &[k, n] if k > 1 => block_of(n)
                .map(|b| Outline { unfolded: true, ..Outline::input(k.saturating_mul(b)) })
                .unwrap_or_default(),
            _ => Outline::default(),
        }
    }
}

impl Oftv2 {
    /// Number and size of the blocks, and of the entries that each is made of.
    fn dims(&self) -> [usize; 3] {
        let [k, n] = self.oft_r.lazy_shape().dims();
        // Only sizes of blocks are let in.
        [k, block_of(n).unwrap_or(1), n]
    }

    /// $D$ of every block, so that $W = W_0 (I + D)^\top$: $R - I$, of the series or of the whole
    /// transform.
    ///
    /// ```text
    /// [k, b, b]
    /// ```
    fn deviations(&self, gamma: f64) -> Tensor<3> {
        let [_, b, _] = self.dims();
        let scale = gamma / if self.scaled { 2.0 * ((b - 1) as f64).sqrt() } else { 1.0 };
        let q = self.generators();
        let q = if scale == 1.0 { q } else { q.mul_scalar(scale) };
        match self.series {
            Series::UpTo(power) => series(q, power),
            Series::OfWeights => series(q, 4),
            Series::Whole => algebra::cayley_deviation(q.neg()),
        }
    }

    /// $V - V^\top$ of every block.
    fn generators(&self) -> Tensor<3> {
        let v = self.oft_r.val();
        let [k, b, n] = self.dims();
        let nothing = Tensor::zeros([k, 1], (&v.device(), v.dtype()));
        let place = Tensor::<1, Int>::from_data(&places(b, n)[..], &v.device());
        let upper = Tensor::cat(vec![v, nothing], 1).select(1, place);
        algebra::skew(upper.reshape([k, b, b]))
    }
}

impl Series {
    /// From a file, where it says which.
    fn read(parts: &Parts) -> Result<Self, AdapterError> {
        match parts.scalar(TERMS)? {
            None => Ok(Self::OfWeights),
            Some(terms) => Self::of_terms(terms)
                .ok_or_else(|| parts.misshapen(TERMS, format!("0, or 3 to {MOST_TERMS}"))),
        }
    }

    /// PEFT's, of this number of terms.
    fn of_terms(terms: f64) -> Option<Self> {
        let is_some = terms >= 3.0 && terms <= MOST_TERMS as f64 && terms.fract() == 0.0;
        match is_some {
            true => Some(Self::UpTo((terms as usize - 1).max(3))),
            false => (terms == 0.0).then_some(Self::Whole),
        }
    }
}

/// $2Q + 2Q^2 + \dots + 2Q^{m-1} + Q^m$, by Horner's rule and without the identity, so that nothing cancels.
fn series(q: Tensor<3>, power: usize) -> Tensor<3> {
    (1..power).fold(q.clone(), |sum, _| q.clone().mul_scalar(2.0) + q.clone().matmul(sum))
}

/// Entries above the diagonal of a block.
fn entries(b: usize) -> usize {
    b * (b - 1) / 2
}

/// The size of a block of so many entries.
fn block_of(n: usize) -> Option<usize> {
    // b² - b = 2n, so that b is the next number above the root of 2n.
    let b = n.checked_mul(2)?.isqrt() + 1;
    (n > 0 && entries(b) == n).then_some(b)
}

/// For every entry of a block, row by row, which of the `n` above the diagonal it is; `n` if none.
fn places(b: usize, n: usize) -> Vec<i64> {
    let mut next = 0..n as i64;
    let places = (0..b).flat_map(|row| (0..b).map(move |column| column > row));
    places.map(|is_above| is_above.then(|| next.next()).flatten().unwrap_or(n as i64)).collect()
}

/// The divisor of `inputs` nearest to `asked`, 2 at least, the smaller of two; none of one input.
fn block_size(inputs: usize, asked: usize) -> Option<usize> {
    let divisors = (2..=inputs).filter(|b| inputs.is_multiple_of(*b));
    divisors.min_by_key(|b| b.abs_diff(asked))
}

#[cfg(test)]
mod tests;
