//! Which layer was the first to give a number that is not finite.

use std::cell::Cell;

use burn::{module::ParamId, tensor::Tensor};

thread_local! {
    /// While somebody watches: the weight of the first such layer, as soon as there is one.
    static WATCH: Cell<Option<Option<ParamId>>> = const { Cell::new(None) };
}

/// What `work` gives, and the weight of the first of the [layers](super) that it ran, on this thread,
/// whose output was not finite.
pub fn first_not_finite<T>(work: impl FnOnce() -> T) -> (T, Option<ParamId>) {
    WATCH.set(Some(None));
    let done = work();
    (done, WATCH.take().flatten())
}

/// The output of a layer.
pub(super) fn watched<const D: usize>(weight: ParamId, y: Tensor<D>) -> Tensor<D> {
    if WATCH.get() == Some(None) && !y.clone().is_finite().all().into_scalar::<bool>() {
        WATCH.set(Some(Some(weight)));
    }
    y
}
