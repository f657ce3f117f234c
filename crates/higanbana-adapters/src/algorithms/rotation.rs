//! What adapters that rotate the rows of a weight share: their options, the rotations with the
//! trained gain of each row, and the shortcut through the layer's output.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use higanbana_core::{
    AdapterError, Degree, Features, Init, Parts, Site, Tensors, Variant, algebra,
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
}

/// Rotations of blocks of rows, and a factor for each row.
#[derive(Module, Debug)]
pub struct Rotation {
    /// $B$, `[n, b, b]`: zeros. In files the blocks may stand in further axes.
    pub oft_blocks: Param<Tensor<3>>,
    /// $s$, `[out]`: ones.
    pub rescale: Option<Param<Tensor<1>>>,
    /// $c$: all $Q$ together are kept within $\lVert Q \rVert_F \le c \cdot out$; 0 sets no bound. In
    /// `f32`, as files hold it under `alpha`.
    #[module(skip)]
    constraint: f32,
}

impl Rotation {
    /// Keys of a file.
    pub const KEYS: &'static [&'static str] = &["oft_blocks", "rescale", "alpha"];
    /// Sets of options with their own formulas.
    pub const VARIANTS: &'static [Variant] = &[
        Variant { name: "constraint", options: "constraint = 0.01" },
        Variant { name: "rescaled", options: "rescaled = true" },
    ];

    /// Why PEFT's own tensors have no place here.
    pub const UNREAD: &'static str = "PEFT's own form of orthogonal adapters, which is not read";

    /// None yet, in `n` blocks of `b` rows.
    ///
    /// # Errors
    /// When the constraint is negative or not a number.
    pub fn new(
        site: &Site,
        config: &RotationConfig,
        [n, b]: [usize; 2],
        init: &Init,
    ) -> Result<Self, AdapterError> {
        let constraint = config.constraint;
        if !(constraint.is_finite() && constraint >= 0.0) {
            let reason = format!("constraint {constraint} bounds no norm, give 0 for none or more");
            return Err(AdapterError::option(site, reason));
        }
        Ok(Self {
            oft_blocks: Param::from_tensor(init.zeros([n, b, b])),
            rescale: config.rescaled.then(|| Param::from_tensor(init.ones([site.out()]))),
            constraint: constraint as f32,
        })
    }

    /// From a file that holds the blocks, `[b, b]` each, in these axes; without `alpha` there is no
    /// bound.
    ///
    /// # Errors
    /// When a tensor does not fit or `alpha` is not one finite number.
    pub fn read(
        site: &Site,
        parts: &Parts,
        axes: &[usize],
        b: usize,
    ) -> Result<Self, AdapterError> {
        let (stored, n) = ([axes, &[b, b]].concat(), axes.iter().product());
        let blocks = parts.unfolded("oft_blocks", &stored, [n, b, b])?;
        Ok(Self {
            oft_blocks: Param::from_tensor(blocks),
            rescale: parts.optional("rescale", [site.out()])?.map(Param::from_tensor),
            constraint: parts.scalar("alpha")?.unwrap_or(0.0) as f32,
        })
    }

    /// The tensors of a file, with the blocks in this shape.
    pub fn write(&self, site: &Site, blocks: impl Into<Vec<usize>>) -> Tensors {
        let mut tensors = Tensors::from([
            ("oft_blocks".into(), to_data(&self.oft_blocks.val(), blocks)),
            ("alpha".into(), scalar_data(f64::from(self.constraint))),
        ]);
        if let Some(s) = &self.rescale {
            let shape = site.pointwise_shape(site.out(), 1);
            tensors.insert("rescale".into(), to_data(&s.val(), shape));
        }
        tensors
    }

    /// Number and size of the blocks.
    pub fn dims(&self) -> [usize; 2] {
        let [n, b, _] = self.oft_blocks.lazy_shape().dims();
        [n, b]
    }

    /// The rotations with these generators $Q$, `[n, b, b]`; none where there is more to choose, or less,
    /// than a rotation.
    pub fn generated_by(&self, q: Tensor<3>) -> Option<Self> {
        let free = self.rescale.is_none() && self.constraint == 0.0;
        let oft_blocks = Param::from_tensor(q.mul_scalar(0.5));
        free.then(|| Self { oft_blocks, ..self.clone() })
    }

    /// Homogeneity of an adapter that rotates rows. A bound of $Q$ does not touch it: it sees $\gamma Q$.
    pub fn degree(&self) -> Degree {
        let rescale = self.rescale.as_ref().map(|_| ("rescale", 0));
        Degree::Inside {
            map: "γ Q, before its bound and the Cayley transform",
            exponents: [("oft_blocks", 1)].into_iter().chain(rescale).collect(),
        }
    }

    /// Whether it only turns; a gain stretches rows as well.
    pub fn keeps_lengths(&self) -> bool {
        self.rescale.is_none()
    }

    /// Number of trained values.
    pub fn count(&self, site: &Site) -> usize {
        let [n, b] = self.dims();
        n * b * b + self.rescale.as_ref().map_or(0, |_| site.out())
    }

    /// $D = R - I$ of every block, with $R = (I+Q)(I-Q)^{-1}$ and $Q = \gamma (B - B^\top)$ shrunk into
    /// the bound, all blocks together.
    ///
    /// ```text
    /// [n, b, b]
    /// ```
    pub fn deviations(&self, site: &Site, gamma: f64) -> Tensor<3> {
        let q = algebra::skew(self.oft_blocks.val());
        let q = if gamma == 1.0 { q } else { q.mul_scalar(gamma) };
        let radius = f64::from(self.constraint) * site.out() as f64;
        algebra::cayley_deviation(if radius > 0.0 { algebra::bounded(q, radius) } else { q })
    }

    /// Scales the rows of $W_0 + U$ by $1 + t$, $t = \mu(s - 1)$, and takes $W_0$ off again, without
    /// cancellation.
    ///
    /// $$U' = (1 + t) \circ (W_0 + U) - W_0 = U + t \circ (W_0 + U)$$
    ///
    /// ```text
    /// update U [out, n]  w0 [out, n]  ->  [out, n]
    /// ```
    pub fn rescaled(&self, update: Tensor<2>, w0: Tensor<2>, strength: f64) -> Tensor<2> {
        let Some(s) = &self.rescale else { return update };
        let gain = s.val().sub_scalar(1.0).mul_scalar(strength);
        update.clone() + (w0 + update) * gain.unsqueeze_dim(1)
    }
}

/// Applies a linear map of a weight's rows to the output of its layer, where rows are channels: `f`
/// gets `[channels, positions]`.
///
/// $(R W_0) x = R (W_0 x)$ whatever the stride, padding or dilation. In a grouped convolution it
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
