//! The shortcut through a stack of adapters.

use burn::tensor::Tensor;
use higanbana_core::{Call, Features, Layer, Op, Slot};

use super::cheaper;

/// `op(x, W)`, without the bias, where the shortcut exists and is to be taken; `w0` is `[out, in·K]`.
pub(super) fn shortcut(slot: &Slot, w0: &Tensor<2>, x: &Features, op: &Op) -> Option<Features> {
    let active: Vec<&Layer> = slot.active().collect();
    if active.is_empty() || !cheaper(slot, x, op, w0.is_autodiff()) {
        return None;
    }
    let call = |strength| Call { site: &slot.site, w0, x, op, strength };
    if let [layer] = active[..]
        && let Some(y) = layer.adapter.forward(&call(layer.strength))
    {
        return Some(y);
    }
    let y0 = call(1.0).apply(w0.clone());
    active
        .into_iter()
        .try_fold(y0.clone(), |y, layer| Some(y + layer.adapter.added(&call(layer.strength), &y0)?))
}
