//! The shortcut through a stack of adapters.

use burn::{module::Param, tensor::Tensor};
use higanbana_core::{Acting, Call, Features, Op, Slot};

use super::cheaper;

/// `op(x, W) + b` for a layer with this weight and bias, where the shortcut exists and is to be taken.
pub(super) fn forward<const D: usize>(
    weight: &Param<Tensor<D>>,
    bias: &Option<Tensor<1>>,
    x: impl FnOnce() -> Features,
    op: &Op,
) -> Option<Features> {
    let slot = weight.reparameterization::<Slot>()?;
    let y = shortcut(slot, &slot.site.to_matrix(weight.base()), &x(), op)?;
    Some(match bias {
        None => y,
        Some(bias) => y.shift(bias.clone()),
    })
}

/// `op(x, W)`, without the bias, where the shortcut exists and is to be taken; `w0` is `[out, in·K]`.
pub(super) fn shortcut(slot: &Slot, w0: &Tensor<2>, x: &Features, op: &Op) -> Option<Features> {
    if slot.active().next().is_none() || !cheaper(slot, x, op, w0.is_autodiff()) {
        return None;
    }
    let acting: Vec<Acting> = slot.acting(w0).collect();
    let call = |strength| Call { site: &slot.site, w0, x, op, strength };
    if let [only] = &acting[..]
        && let Some(y) = only.forward(&call(only.strength))
    {
        return Some(y);
    }
    let y0 = call(1.0).apply(w0.clone());
    acting
        .iter()
        .try_fold(y0.clone(), |y, acting| Some(y + acting.added(&call(acting.strength), &y0)?))
}
