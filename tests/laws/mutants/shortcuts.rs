//! Faults of the forward paths, each on one of them and in one state.

use burn::tensor::Tensor;
use higanbana::{adapters::algorithms::lora::Lora, prelude::*};

use super::{Fault, Mutant, faults::first_timestep};

/// Features and a constant that nobody asked for.
fn moved(x: Features) -> Features {
    match x {
        Features::Rows { x, batch } => Features::Rows { x: x.add_scalar(1e-9), batch },
        Features::Maps(x) => Features::Maps(x.add_scalar(1e-9)),
    }
}

fn detached(x: &Features) -> Features {
    match x.clone() {
        Features::Rows { x, batch } => Features::Rows { x: x.detach(), batch },
        Features::Maps(x) => Features::Maps(x.detach()),
    }
}

fault! {
    MovesShortcut breaks ["identity", "paths", "layers", "dropout"],
    fn added(mutant: &Mutant<Self>, call: &Call, y0: &Features) -> Option<Features> {
        mutant.inner.added(call, y0).map(moved)
    }
}

fault! {
    MovesFused breaks ["identity", "paths", "layers"],
    fn forward(mutant: &Mutant<Self>, call: &Call) -> Option<Features> {
        let update = mutant.inner.update_at(call.site, call.w0, call.strength);
        Some(moved(call.apply(call.w0.clone() + update)))
    }
}

fault! {
    ClaimsShortcut breaks ["paths"],
    fn added(_mutant: &Mutant<Self>, _call: &Call, _y0: &Features) -> Option<Features> {
        None
    }
}

fault! {
    SkipsNew breaks ["paths"],
    fn added(mutant: &Mutant<Self>, call: &Call, y0: &Features) -> Option<Features> {
        let added = mutant.inner.added(call, y0)?;
        let is_new = mutant.inner.lora_up.val().abs().max().into_scalar::<f64>() == 0.0;
        Some(if is_new { detached(&added) } else { added })
    }
}

fault! {
    DetachesInput breaks ["paths"],
    fn added(mutant: &Mutant<Self>, call: &Call, y0: &Features) -> Option<Features> {
        let &Call { site, w0, x, op, strength } = call;
        mutant.inner.added(&Call { site, w0, x: &detached(x), op, strength }, y0)
    }
}

fault! {
    OneTimestepFused breaks ["samples"],
    fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        mutant.inner.update(site, w0).mul_scalar(first_timestep(&mutant.condition))
    }
    fn added(_mutant: &Mutant<Self>, _call: &Call, _y0: &Features) -> Option<Features> {
        None
    }
    fn forward(mutant: &Mutant<Self>, call: &Call) -> Option<Features> {
        mutant.inner.cost(call.site, call.op.groups())?;
        let update = Self::update(mutant, call.site, call.w0).mul_scalar(call.strength);
        Some(call.apply(call.w0.clone() + update))
    }
}
