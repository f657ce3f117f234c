//! The dimension of the set of updates that an adapter can reach, which its parameter count only
//! bounds.
//!
//! $$\dim\lbrace \Delta W(\theta) \rbrace = \max_\theta \operatorname{rank} J(\theta), \qquad
//! J = \frac{\partial \operatorname{vec} \Delta W}{\partial \theta}$$
//!
//! The maximum is attained at almost every $\theta$. The null space of $J$ holds the *gauge*
//! directions, along which the parameters move and the update does not: $B A = (B G)(G^{-1} A)$ has
//! $r^2$ of them, so that a matrix of rank `r` has $r(m + n - r)$ degrees of freedom.

use burn::{
    module::Module,
    tensor::{Tensor, TensorData},
};

use crate::{
    DynAdapter, Init, Site, SiteKind,
    device::cpu,
    spectrum::{self, SpectrumError},
    trained,
};

/// Rounding of a gradient, in units of that of its element type.
const ROUNDING: f64 = 64.0;

/// How many of its parameters an adapter makes use of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freedom {
    /// Number of trained values.
    pub parameters: usize,
    /// Rank of the Jacobian: the degrees of freedom of the update.
    pub degrees: usize,
}

impl Freedom {
    /// Directions in which the parameters move and the update does not.
    pub fn gauge(&self) -> usize {
        self.parameters - self.degrees
    }
}

/// Counts the degrees of freedom of an adapter at its present values, which should be in general
/// position ([`trained::shaken`]).
///
/// The rank is that of `min(parameters, entries)` random combinations of the rows of $J$, each a
/// gradient through autodiff, exact but for rounding: that of $J$ itself, with probability 1.
///
/// # Errors
/// When a gradient is not finite, or the decomposition fails.
pub fn freedom(
    adapter: &DynAdapter,
    site: &Site,
    w0: &Tensor<2>,
    seed: u64,
) -> Result<Freedom, SpectrumError> {
    let parameters = trained::values(adapter).len();
    let shape = [site.out(), site.cols()];
    let rows = parameters.min(shape[0] * shape[1]);
    let tracked = adapter.clone().train();
    let base = w0.clone().autodiff();
    let mut cotangents =
        Init::new(&Site::new("cotangents", SiteKind::Linear, [1, 1]), w0.clone(), seed);
    let mut entries = Vec::with_capacity(rows * parameters);
    for _ in 0..rows {
        let cotangent = cotangents.normal(shape, 1.0).autodiff();
        let grads = (tracked.update_at(site, &base, 1.0) * cotangent).sum().backward();
        entries.extend(trained::gradients(&tracked, &grads).into_iter().flat_map(|(_, g)| g));
    }
    let data = TensorData::new(entries, [rows, parameters]);
    let s = spectrum::singular_values(&Tensor::from_data(data, (&cpu(), w0.dtype())))?;
    let epsilon = ROUNDING * w0.dtype().finfo().map_or(f64::EPSILON, |float| float.epsilon);
    Ok(Freedom { parameters, degrees: spectrum::numerical_rank(&s, rows, parameters, epsilon) })
}
