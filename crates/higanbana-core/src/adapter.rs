//! The contract: one algorithm, one type, one file.

use std::fmt::Debug;

use burn::{
    module::{Module, ModuleDisplay},
    tensor::Tensor,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    AdapterError, Call, Condition, Degree, Features, Glimpse, Init, Parts, PeftForm, Site,
    SiteKind, Tensors,
    spectrum::{Budget, SpectrumError},
};

/// Options of an algorithm: `serde` with `deny_unknown_fields`, defaults in [`Default`]. Experiments vary
/// those called `rank` and `factor`; [`Variant`]s set others. With `rank` goes `alpha`: an `alpha` of 0 stands for
/// the rank, so that the scale $\alpha / r$ is 1, and that is what experiments ask for at every rank.
pub trait Options:
    Clone + Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

impl<T> Options for T where
    T: Clone + Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

/// No options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// A named set of options worth testing, timing and comparing on its own.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// Name, shown as `algorithm:name`.
    pub name: &'static str,
    /// The options, in TOML.
    pub options: &'static str,
}

/// Work of the two forward paths, in multiply-accumulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// To build the update once; `usize::MAX` where the samples of the batch at hand share none, so
    /// that only the shortcut serves them.
    pub update: usize,
    /// For each position of the features, on the shortcut.
    pub shortcut: usize,
}

/// What the tensors of one module of a file tell without the base weight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Shape of the parameter: `[out, in/groups, kernel...]`. Where a file unfolds the kernel, as in
    /// `[out, in·K]`, so does this. A size that they leave open is none; empty if they tell nothing.
    pub shape: Vec<Option<usize>>,
    /// Whether a kernel may be unfolded: these tensors would look the same on a linear layer.
    pub unfolded: bool,
    /// Rank $r$, where the algorithm has one.
    pub rank: Option<usize>,
}

impl Outline {
    /// Shape and rank.
    pub fn new(shape: impl Into<Vec<usize>>, rank: impl Into<Option<usize>>) -> Self {
        Self {
            shape: shape.into().into_iter().map(Some).collect(),
            unfolded: false,
            rank: rank.into(),
        }
    }

    /// Rows alone: whatever the columns are, these tensors would look the same.
    pub fn rows(out: usize) -> Self {
        Self { shape: vec![Some(out), None], ..Self::default() }
    }

    /// Input features alone.
    pub fn input(input: usize) -> Self {
        Self { shape: vec![None, Some(input)], ..Self::default() }
    }

    /// Shape `[out, in·K]` and rank.
    pub fn unfolded([out, cols]: [usize; 2], rank: impl Into<Option<usize>>) -> Self {
        Self { unfolded: true, ..Self::new([out, cols], rank) }
    }

    /// The shape, if no size of it is open.
    pub fn whole_shape(&self) -> Option<Vec<usize>> {
        self.shape.iter().copied().collect::<Option<Vec<_>>>().filter(|shape| !shape.is_empty())
    }
}

/// A reparameterisation $W(\mu) = W_0 + \Delta W_\mu(\theta, W_0)$ of one weight.
///
/// All matrices are `[out, in·K]` (see [`Site`]). The fields of an implementation are its trained
/// tensors, as Burn `Param`s of float tensors named like the keys of the field's files; `Param`s that
/// require no gradient are frozen; the rest is marked `#[module(skip)]`. Laws that every implementation
/// keeps, and that the battery checks:
///
/// * a new adapter changes nothing: [`Adapter::update`] is exactly zero;
/// * [`Adapter::added`] and [`Adapter::forward`] equal the definition in value and gradient;
/// * among its options an `alpha` of 0 stands for the `rank`, where it has both;
/// * [`Adapter::write`] then [`Adapter::read`] gives the same bits, and for another layer no panic;
/// * [`Adapter::strength_degree`], [`Adapter::degree`] with [`Adapter::update_gamma`],
///   [`Adapter::rank_bound`], [`Adapter::keeps_singular_values`] and [`Adapter::parameter_count`] hold.
pub trait Adapter: Module + ModuleDisplay + Sync + 'static {
    /// Options; one that the algorithm does not have is an error when it is parsed.
    type Config: Options;

    /// Name on the command line and in configurations.
    const NAME: &'static str;
    /// A second name of the same algorithm, if the field calls its form on convolutions otherwise. Where
    /// rules choose the layers, both mean the same; where nothing else does, as in an extraction, the
    /// plain name leaves convolutions of more than one tap alone.
    const CONVOLUTIONAL_NAME: Option<&'static str> = None;
    /// Name in prose.
    const TITLE: &'static str;
    /// Where it was published.
    const REFERENCE: &'static str;
    /// The update as a formula.
    const FORMULA: &'static str;
    /// The rank bound as a formula, for the table of algorithms.
    const RANK: &'static str;
    /// The parameter count as a formula, for the table of algorithms.
    const PARAMETERS: &'static str;
    /// Keys in a file below the module's name. Each but the common `alpha` tells the algorithm.
    const KEYS: &'static [&'static str];
    /// Kinds of parameters that it adapts.
    const SITES: &'static [SiteKind] = SiteKind::WEIGHTS;
    /// Whether the update depends on the frozen weight.
    const NEEDS_BASE: bool = false;
    /// How [`Adapter::fit`] approximates, in words; `None` where it does not.
    const FITTED: Option<&'static str> = None;
    /// Whether [`Adapter::fit`] ends at a local optimum: another start might come nearer.
    const FITTED_LOCALLY: bool = false;
    /// What LyCORIS calls it: the arguments of its network, as the metadata of files keep them.
    const ARGUMENTS: &'static [(&'static str, &'static str)] = &[("algo", Self::NAME)];
    /// Sets of options with their own formulas.
    const VARIANTS: &'static [Variant] = &[];
    /// How files of PEFT and diffusers hold it; `None` where neither has the algorithm.
    const PEFT: Option<&'static dyn PeftForm> = None;

    /// Whether these tensors of one module of a file hold an adapter of this algorithm for a
    /// parameter of this kind, or what is left of one: [`Adapter::read`] names the key that is missing.
    fn detect(kind: SiteKind, tensors: &Tensors) -> bool {
        let own = |key: &&&str| **key != "alpha";
        Self::SITES.contains(&kind)
            && Self::KEYS.iter().filter(own).any(|key| tensors.contains_key(*key))
    }

    /// Initial value: the adapted model equals the base.
    ///
    /// # Errors
    /// When the options contradict each other or the site.
    fn new(site: &Site, config: &Self::Config, init: &mut Init) -> Result<Self, AdapterError>;

    /// The definition: $\Delta W = W(1) - W_0$, `[out, in·K]`.
    fn update(&self, site: &Site, w0: &Tensor<2>) -> Tensor<2>;

    /// $W(\mu) - W_0$; $\mu \Delta W$ unless the algorithm interpolates otherwise, and zero at 0.
    fn update_at(&self, site: &Site, w0: &Tensor<2>, strength: f64) -> Tensor<2> {
        let update = self.update(site, w0);
        if strength == 1.0 { update } else { update.mul_scalar(strength) }
    }

    /// Degree of $W(\mu)$ as a polynomial in the strength.
    fn strength_degree(&self) -> usize {
        1
    }

    /// The shortcut: `op(x, W(μ) − W0)` without building a weight; `y0` is `op(x, W0)`.
    /// `None` where there is none; it and [`Adapter::forward`] then have no [`Adapter::cost`] either.
    fn added(&self, _call: &Call, _y0: &Features) -> Option<Features> {
        None
    }

    /// One fused operation for the whole layer, `op(x, W(μ))`, for an adapter that is alone on it.
    fn forward(&self, _call: &Call) -> Option<Features> {
        None
    }

    /// Work of both paths in a layer whose channels fall apart into this many groups; `None` where
    /// there is no shortcut.
    fn cost(&self, _site: &Site, _groups: usize) -> Option<Cost> {
        None
    }

    /// Homogeneity of the update in the trained tensors (Law 01).
    fn degree(&self) -> Degree;

    /// $\Delta W$ with $\gamma$ where [`Adapter::degree`] has it: before the whole update, or before
    /// the map inside. Scaling the trained tensors by $s_i$ is $\gamma = \prod_i s_i^{d_i}$, and exactly
    /// so, to the bit, for powers of two. Has no meaning where there is no degree.
    fn update_gamma(&self, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        self.update(site, w0).mul_scalar(gamma)
    }

    /// Largest rank that the update can have (Law 02).
    fn rank_bound(&self, site: &Site) -> usize;

    /// Whether $W(1)$ has every singular value of $W_0$ (Law 02).
    fn keeps_singular_values(&self) -> bool {
        false
    }

    /// Number of trained values, in closed form.
    fn parameter_count(&self, site: &Site) -> usize;

    /// The tensors of its file. Files of half precision round floats: a seed is an integer.
    fn write(&self, site: &Site) -> Tensors;

    /// Reads the tensors of a file, which may be for another layer or from anywhere. Every size comes
    /// from the file or the site.
    ///
    /// # Errors
    /// When tensors are missing or contradict each other or the site.
    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError>;

    /// Shape of the parameter and rank, as far as the tensors of a file tell.
    fn outline(_kind: SiteKind, _tensors: &Tensors) -> Outline {
        Outline::default()
    }

    /// What a reader of a file should know of a module like this: an assumption that [`Adapter::read`]
    /// makes where the file does not tell.
    fn assumption(_module: &Glimpse) -> Option<&'static str> {
        None
    }

    /// The best approximation of `update` in this family, where it can be computed: if and only if
    /// [`Adapter::FITTED`] says how.
    ///
    /// # Errors
    /// When the decomposition fails.
    fn fit(
        _site: &Site,
        _update: &Tensor<2>,
        _budget: Budget,
    ) -> Option<Result<Self, SpectrumError>> {
        None
    }

    /// The adapter of this one's sizes and options whose update of `w0` is nearest to `target` in the
    /// Frobenius norm, where a closed form is known: the global optimum, or the limit of adapters that
    /// come as near as one likes. Present values do not matter.
    ///
    /// # Errors
    /// When the decomposition fails.
    fn nearest(
        &self,
        _site: &Site,
        _w0: &Tensor<2>,
        _target: &Tensor<2>,
    ) -> Option<Result<Self, SpectrumError>> {
        None
    }

    /// The best approximation of this adapter at a smaller rank, in its own family and, where a family
    /// has several, with factors of its own sizes; `None` where that cannot be computed.
    ///
    /// # Errors
    /// When the decomposition fails.
    fn resized(
        &self,
        site: &Site,
        w0: &Tensor<2>,
        budget: Budget,
    ) -> Option<Result<Self, SpectrumError>> {
        Self::fit(site, &self.update(site, w0), budget)
    }

    /// The adapter of this family whose update is $\sum_i \mu_i \Delta W_i$, exactly; `None` where the sum
    /// of two updates has no place in it. There is at least one term $(\mu_i, \Delta W_i)$, and no
    /// strength is 0.
    fn sum(_site: &Site, _terms: &[(f64, &Self)]) -> Option<Self> {
        None
    }

    /// The same update with this `alpha` in the file, which is not 0; `None` where there is no alpha
    /// or the update does not depend on it.
    fn with_alpha(&self, _alpha: f64) -> Option<Self> {
        None
    }

    /// This adapter with the ranks of its update weighted, for [`crate::training`]: `weights(r)` gives
    /// the weights `[r]`, and weights of 1 change nothing. `None` where there is no rank axis.
    fn weigh_ranks(&self, _weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<Self> {
        None
    }

    /// How far its factors are from orthogonal, `[1]`, to be added to a loss; `None` where none are meant
    /// to be.
    fn orthogonality(&self) -> Option<Tensor<1>> {
        None
    }

    /// Circumstances of the next forward passes.
    fn condition(&mut self, _condition: &Condition) {}
}
