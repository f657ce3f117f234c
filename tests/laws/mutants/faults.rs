//! Faults of what every adapter has, on the plainest of them.

use std::sync::atomic::{AtomicU32, Ordering};

use burn::tensor::{Tensor, TensorData};
use higanbana::{adapters::algorithms::lora::Lora, prelude::*};

use super::{Fault, Mutant};

macro_rules! fault {
    ($name:ident of $of:ident breaks $laws:expr, $($body:tt)*) => {
        #[derive(Debug, Clone)]
        pub struct $name;

        impl Fault for $name {
            type Of = $of;
            const BREAKS: &'static [&'static str] = &$laws;
            $($body)*
        }
    };
    ($name:ident breaks $($rest:tt)*) => {
        fault! { $name of Lora breaks $($rest)* }
    };
}

fault! { Nothing breaks [], }

fault! {
    DrawsStart breaks ["seed", "alpha"],
    fn begin(mut inner: Lora) -> Lora {
        let factor = 1.0 + f64::from(count());
        inner.lora_down = inner.lora_down.map(|down| down.mul_scalar(factor));
        inner
    }
}

/// A number that is another in each call.
fn count() -> u32 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed) % 7
}

fault! {
    StartsMoved breaks ["identity", "paths", "layers", "dropout", "rank", "homogeneity"],
    fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        let ones = w0.ones_like();
        mutant.inner.update(site, w0) + ones.triu(0).mul_scalar(1e-9)
    }
}

fault! {
    SquaresStrength breaks ["strength", "paths", "layers", "dropout"],
    fn update_at(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>, strength: f64) -> Tensor<2> {
        Self::update(mutant, site, w0).mul_scalar(strength * strength)
    }
}

fault! {
    NeverOff breaks ["strength", "paths", "layers", "dropout"],
    fn update_at(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>, strength: f64) -> Tensor<2> {
        Self::update(mutant, site, w0).mul_scalar(0.1 + 0.9 * strength)
    }
}

fault! {
    OverstatesStrength breaks ["strength"],
    fn strength_degree(_mutant: &Mutant<Self>) -> usize {
        2
    }
}

fault! {
    DrawsAnew breaks [
        "strength", "stack", "paths", "gradient", "merge", "layers", "dropout", "files", "homogeneity",
        "pointwise", "alpha",
    ],
    fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        mutant.inner.update(site, w0).mul_scalar(1.0 + f64::from(count()))
    }
}

fault! {
    ScalesShortcut breaks ["paths", "layers", "dropout"],
    fn added(mutant: &Mutant<Self>, call: &Call, y0: &Features) -> Option<Features> {
        mutant.inner.added(call, y0).map(|added| added.mul_scalar(1.0 + 1e-9))
    }
}

fault! {
    DetachesShortcut breaks ["paths"],
    fn added(mutant: &Mutant<Self>, call: &Call, y0: &Features) -> Option<Features> {
        match mutant.inner.added(call, y0)? {
            Features::Rows { x, batch } => Some(Features::Rows { x: x.detach(), batch }),
            Features::Maps(x) => Some(Features::Maps(x.detach())),
        }
    }
}

fault! {
    ForgetsStrength breaks ["paths", "layers"],
    fn forward(mutant: &Mutant<Self>, call: &Call) -> Option<Features> {
        Some(call.apply(call.w0.clone() + mutant.inner.update(call.site, call.w0)))
    }
}

fault! {
    DetachesFused breaks ["paths"],
    fn forward(mutant: &Mutant<Self>, call: &Call) -> Option<Features> {
        let update = mutant.inner.update_at(call.site, call.w0, call.strength).detach();
        Some(call.apply(call.w0.clone() + update))
    }
}

fault! {
    HidesCost breaks ["paths"],
    fn cost(_mutant: &Mutant<Self>, _site: &Site, _groups: usize) -> Option<Cost> {
        None
    }
}

fault! {
    OneTimestepForAll breaks ["samples"],
    fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        mutant.inner.update(site, w0).mul_scalar(first_timestep(&mutant.condition))
    }
    fn added(mutant: &Mutant<Self>, call: &Call, y0: &Features) -> Option<Features> {
        let added = mutant.inner.added(call, y0)?;
        Some(added.mul_scalar(first_timestep(&mutant.condition)))
    }
}

pub fn first_timestep(condition: &Condition) -> f64 {
    condition.timesteps.first().map_or(1.0, |t| t / condition.horizon)
}

fault! {
    DoublesGradient breaks ["gradient", "paths"],
    fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        let update = mutant.inner.update(site, w0);
        update.clone().mul_scalar(2.0) - update.detach()
    }
}

fault! {
    LosesTensor breaks ["files", "pointwise"],
    fn write(mutant: &Mutant<Self>, site: &Site) -> Tensors {
        let mut tensors = mutant.inner.write(site);
        tensors.remove("lora_up.weight");
        tensors
    }
}

fault! {
    LosesAlpha breaks ["files", "pointwise"],
    fn write(mutant: &Mutant<Self>, site: &Site) -> Tensors {
        let mut tensors = mutant.inner.write(site);
        tensors.remove("alpha");
        tensors
    }
}

fault! {
    ScalesFile breaks ["files", "pointwise"],
    fn write(mutant: &Mutant<Self>, site: &Site) -> Tensors {
        let mut tensors = mutant.inner.write(site);
        let up = &tensors["lora_up.weight"];
        let twice: Vec<f64> = up.iter::<f64>().map(|x| 2.0 * x).collect();
        let twice = TensorData::new(twice, up.shape().clone());
        tensors.insert("lora_up.weight".into(), twice);
        tensors
    }
}

fault! {
    WritesUnread breaks ["files"],
    fn write(mutant: &Mutant<Self>, site: &Site) -> Tensors {
        let mut tensors = mutant.inner.write(site);
        tensors.insert("stray".into(), TensorData::from([1.0f32]));
        tensors
    }
}

fault! {
    Unrecognised breaks ["files"],
    fn detects() -> bool {
        false
    }
}

fault! {
    TakesSizes breaks ["misfit"],
    fn read(site: &Site, parts: &Parts) -> Result<Lora, AdapterError> {
        assert!(site.full_rank() > 1, "that cannot be");
        Lora::read(site, parts)
    }
}

fault! {
    ScalesRanks breaks ["dropout"],
    fn weigh_ranks(inner: &Lora, weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<Lora> {
        inner.weigh_ranks(&mut |r| weights(r).mul_scalar(1.0 + 1e-9))
    }
}

fault! {
    CountsOneMore breaks ["parameters"],
    fn parameter_count(mutant: &Mutant<Self>, site: &Site) -> usize {
        mutant.inner.parameter_count(site) + 1
    }
}

fault! {
    BoundsTooLow breaks ["rank"],
    fn rank_bound(mutant: &Mutant<Self>, site: &Site) -> usize {
        mutant.inner.rank_bound(site) - 1
    }
}

fault! {
    BoundsTooHigh breaks ["rank"],
    fn rank_bound(_mutant: &Mutant<Self>, site: &Site) -> usize {
        site.full_rank() + 1
    }
}

fault! {
    WrongExponent breaks ["homogeneity"],
    fn degree(_mutant: &Mutant<Self>) -> Degree {
        Degree::Update(vec![("lora_up", 1), ("lora_down", 2)])
    }
}

fault! {
    ForgetsExponent breaks ["homogeneity"],
    fn degree(_mutant: &Mutant<Self>) -> Degree {
        Degree::Update(vec![("lora_up", 1)])
    }
}

fault! {
    RoundsGamma breaks ["homogeneity"],
    fn update_gamma(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        mutant.inner.update(site, w0).mul_scalar(gamma.powf(1.0 - 1e-15))
    }
}

/// $T / (1 + \lVert T \rVert^2)$ with $T = \gamma B A$: of no degree, with one inside.
macro_rules! bent {
    ($name:ident breaks $laws:expr, $down:literal, $($gamma:tt)*) => {
        fault! {
            $name breaks $laws,
            fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
                bend(mutant.inner.update(site, w0))
            }
            fn added(_mutant: &Mutant<Self>, _call: &Call, _y0: &Features) -> Option<Features> {
                None
            }
            fn cost(_mutant: &Mutant<Self>, _site: &Site, _groups: usize) -> Option<Cost> {
                None
            }
            fn degree(_mutant: &Mutant<Self>) -> Degree {
                let exponents = vec![("lora_up", 1), ("lora_down", $down)];
                Degree::Inside { map: "γ B A", exponents }
            }
            $($gamma)*
        }
    };
}

fn bend(t: Tensor<2>) -> Tensor<2> {
    t.clone() / t.square().sum().add_scalar(1.0).unsqueeze()
}

bent! {
    Inside breaks [], 1,
    fn update_gamma(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        bend(mutant.inner.update(site, w0).mul_scalar(gamma))
    }
}

bent! {
    WrongInside breaks ["homogeneity"], 2,
    fn update_gamma(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        bend(mutant.inner.update(site, w0).mul_scalar(gamma))
    }
}

bent! { OutsideGamma breaks ["homogeneity"], 1, }

fault! {
    DeniesDegree breaks ["homogeneity"],
    fn degree(_mutant: &Mutant<Self>) -> Degree {
        Degree::None { why: "it has one" }
    }
}

fault! {
    ScalesConvolutions breaks ["paths", "layers", "dropout", "pointwise"],
    fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        let factor = if site.kind == SiteKind::Linear { 1.0 } else { 1.1 };
        mutant.inner.update(site, w0).mul_scalar(factor)
    }
}

fault! {
    AddsAtFullStrength breaks ["sum"],
    fn sum(site: &Site, terms: &[(f64, &Lora)]) -> Option<Lora> {
        let terms: Vec<_> = terms.iter().map(|(_, term)| (1.0, *term)).collect();
        Lora::sum(site, &terms)
    }
}

fault! {
    WritesAnotherAlpha breaks ["sum"],
    fn with_alpha(inner: &Lora, alpha: f64) -> Option<Lora> {
        inner.with_alpha(2.0 * alpha)
    }
}

fault! {
    RefusesSite breaks ["coverage"],
    fn accepts(site: &Site) -> bool {
        site.kind != SiteKind::Conv3d
    }
}

fault! {
    NeverActs breaks ["coverage"],
    fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        mutant.inner.update(site, w0).mul_scalar(0.0)
    }
    fn added(mutant: &Mutant<Self>, call: &Call, y0: &Features) -> Option<Features> {
        mutant.inner.added(call, y0).map(|added| added.mul_scalar(0.0))
    }
}

fault! {
    Panics breaks [
        "identity", "strength", "stack", "paths", "gradient", "merge", "layers", "dropout", "files", "rank",
        "rotation", "homogeneity", "pointwise", "coverage", "alpha",
    ],
    fn update(_mutant: &Mutant<Self>, _site: &Site, _w0: &Tensor<2>) -> Tensor<2> {
        panic!("no update")
    }
}
