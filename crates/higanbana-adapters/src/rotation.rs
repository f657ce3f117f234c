//! What adapters that rotate the rows of a weight share: their options, the bounded Cayley blocks,
//! the trained gain of each row, and the shortcut through the layer's output.

use burn::{
    module::Param,
    tensor::{Tensor, TensorData},
};
use higanbana_core::{
    AdapterError, Degree, Features, Init, Parts, Site, Tensors, algebra,
    parts::{scalar_data, to_data},
};
use serde::{Deserialize, Serialize};

/// Options of an adapter that rotates rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotationConfig {
    /// Size of the blocks asked for; each algorithm says how it fits this to the weight.
    /// LyCORIS's `lora_dim`.
    pub rank: usize,
    /// The generator's Frobenius norm is kept within `constraint · out`; 0 sets no bound.
    pub constraint: f64,
    /// Train a factor for each row as well.
    pub rescaled: bool,
}

impl Default for RotationConfig {
    fn default() -> Self {
        Self { rank: 4, constraint: 0.0, rescaled: false }
    }
}

impl RotationConfig {
    /// The requested block size as the factorisations of [`algebra`] take it.
    ///
    /// # Errors
    /// When it is 0.
    pub fn block_size(&self, site: &Site) -> Result<i64, AdapterError> {
        match self.rank {
            0 => Err(AdapterError::option(site, "rank 0 leaves no blocks, give at least 2")),
            rank => Ok(i64::try_from(rank).unwrap_or(i64::MAX)),
        }
    }

    /// Row factors of ones, where they are wanted.
    pub fn rescale(&self, site: &Site, init: &Init) -> Option<Param<Tensor<1>>> {
        self.rescaled.then(|| Param::from_tensor(init.ones([site.out()])))
    }
}

/// The bound of the generator, `constraint · out`. Held in `f32`, as files hold it under `alpha`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constraint(f32);

impl Constraint {
    /// From options.
    ///
    /// # Errors
    /// When it is negative or not a number.
    pub fn new(site: &Site, config: &RotationConfig) -> Result<Self, AdapterError> {
        let constraint = config.constraint;
        if constraint.is_finite() && constraint >= 0.0 {
            return Ok(Self(constraint as f32));
        }
        let reason = format!("constraint {constraint} bounds no norm, give 0 for none or more");
        Err(AdapterError::option(site, reason))
    }

    /// From a file; without `alpha` there is no bound.
    ///
    /// # Errors
    /// When `alpha` is not one finite number.
    pub fn read(parts: &Parts) -> Result<Self, AdapterError> {
        Ok(Self(parts.scalar("alpha")?.unwrap_or(0.0) as f32))
    }

    /// Homogeneity of an adapter that rotates rows.
    pub fn degree(self, rescale: Option<&Param<Tensor<1>>>) -> Degree {
        if self.0 > 0.0 {
            return Degree::None { why: "the constraint bounds Q, which then no longer scales" };
        }
        let rescale = rescale.map(|_| ("rescale", 0));
        Degree::Inside {
            map: "γ Q, inside the Cayley transform",
            exponents: [("oft_blocks", 1)].into_iter().chain(rescale).collect(),
        }
    }

    /// The tensors of a file; the constraint stands under `alpha`.
    pub fn write(
        self,
        site: &Site,
        blocks: TensorData,
        rescale: Option<&Param<Tensor<1>>>,
    ) -> Tensors {
        let rescale = rescale
            .map(|s| ("rescale".into(), to_data(&s.val(), site.pointwise_shape(site.out(), 1))));
        let alpha = scalar_data(f64::from(self.0));
        [("oft_blocks".into(), blocks), ("alpha".into(), alpha)]
            .into_iter()
            .chain(rescale)
            .collect()
    }

    /// $D = R - I$ of every free block, with $R = (I+Q)(I-Q)^{-1}$ and $Q = \gamma (B - B^\top)$
    /// shrunk into the bound, all blocks together.
    ///
    /// ```text
    /// blocks [n, b, b]  ->  [n, b, b]
    /// ```
    pub fn deviations(self, site: &Site, blocks: Tensor<3>, gamma: f64) -> Tensor<3> {
        let q = algebra::skew(blocks);
        let q = if gamma == 1.0 { q } else { q.mul_scalar(gamma) };
        let radius = f64::from(self.0) * site.out() as f64;
        algebra::cayley_deviation(if radius > 0.0 { algebra::bounded(q, radius) } else { q })
    }
}

/// Scales the rows of $W_0 + U$ by $1 + t$ and takes $W_0$ off again, without cancellation.
///
/// $$U' = (1 + t) \circ (W_0 + U) - W_0 = U + t \circ (W_0 + U)$$
///
/// ```text
/// update U [out, n]  w0 [out, n]  gain t [out]  ->  [out, n]
/// ```
pub fn with_gain(update: Tensor<2>, w0: Tensor<2>, gain: Tensor<1>) -> Tensor<2> {
    update.clone() + (w0 + update) * gain.unsqueeze_dim(1)
}

/// Applies a linear map of a weight's rows to the output of its layer, where rows are channels: `f`
/// gets `[channels, positions]`.
///
/// $(R W_0)\,x = R\,(W_0 x)$ whatever the stride, padding or dilation. In a grouped convolution it
/// holds only where $R$ mixes no rows of different groups: those see different inputs.
pub fn on_channels(y: &Features, f: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Features {
    match y {
        Features::Rows { x, batch } => {
            Features::Rows { x: f(x.clone().transpose()).transpose(), batch: *batch }
        }
        Features::Maps(x) => {
            let [batch, channels, height, width] = x.dims();
            let columns = x.clone().swap_dims(0, 1).reshape([channels, batch * height * width]);
            let mapped = f(columns).reshape([channels, batch, height, width]);
            Features::Maps(mapped.swap_dims(0, 1))
        }
    }
}
