//! Faults in what is particular to one algorithm: rotations, Hadamard and Kronecker products, Tucker
//! cores.

use burn::tensor::Tensor;
use higanbana::{
    adapters::algorithms::{boft::Boft, diag_oft::DiagOft, loha::Loha, lokr::Lokr, lora::Lora},
    prelude::*,
};

use super::{Fault, Mutant};

const CONSTRAINT: &[Variant] = &[Variant { name: "constraint", options: "constraint = 0.01" }];
const TUCKER: &[Variant] = &[Variant { name: "tucker", options: "use_tucker = true" }];

/// Turns rows by these deviations from the identity, in place of $R - I$ with $R$ of $\gamma Q$.
macro_rules! turns {
    ($name:ident breaks $laws:expr, $deviations:ident) => {
        fault! {
            $name of DiagOft breaks $laws,
            const VARIANTS: &'static [Variant] = CONSTRAINT;
            fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
                Self::update_gamma(mutant, site, w0, 1.0)
            }
            fn update_gamma(
                mutant: &Mutant<Self>,
                site: &Site,
                w0: &Tensor<2>,
                gamma: f64,
            ) -> Tensor<2> {
                let deviations = $deviations(&mutant.inner, site, gamma);
                algebra::rotate_rows_transposed(deviations, w0.clone())
            }
            fn added(_mutant: &Mutant<Self>, _call: &Call, _y0: &Features) -> Option<Features> {
                None
            }
            fn cost(_mutant: &Mutant<Self>, _site: &Site, _groups: usize) -> Option<Cost> {
                None
            }
        }
    };
}

// A multiple of Q is as homogeneous as Q is.
turns! { TurnsToFirstOrder breaks ["rotation", "homogeneity"], first_order }

fn first_order(inner: &DiagOft, _site: &Site, gamma: f64) -> Tensor<3> {
    generator(inner, gamma).mul_scalar(2.0)
}

turns! { ShrinksRotation breaks ["rotation"], shrunk }

fn shrunk(inner: &DiagOft, site: &Site, gamma: f64) -> Tensor<3> {
    let deviations = algebra::cayley_deviation(generator(inner, gamma));
    match inner.write(site)["alpha"].iter::<f64>().next() {
        Some(constraint) if constraint > 0.0 => {
            algebra::bounded(deviations, constraint * site.out() as f64)
        }
        _ => deviations,
    }
}

/// $\gamma Q$.
fn generator(inner: &DiagOft, gamma: f64) -> Tensor<3> {
    algebra::skew(inner.rotation.oft_blocks.val()).mul_scalar(gamma)
}

fault! {
    TurnsTooFar of Boft breaks ["rotation"],
    fn update_at(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>, strength: f64) -> Tensor<2> {
        mutant.inner.update_at(site, w0, strength).mul_scalar(1.0 + 1e-9)
    }
    fn update_gamma(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        mutant.inner.update_gamma(site, w0, gamma).mul_scalar(1.0 + 1e-9)
    }
    fn added(_mutant: &Mutant<Self>, _call: &Call, _y0: &Features) -> Option<Features> {
        None
    }
    fn cost(_mutant: &Mutant<Self>, _site: &Site, _groups: usize) -> Option<Cost> {
        None
    }
}

fault! {
    DeniesRotation of DiagOft breaks ["rotation"],
    fn keeps_singular_values(_mutant: &Mutant<Self>) -> bool {
        false
    }
    fn update_gamma(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        mutant.inner.update_gamma(site, w0, gamma)
    }
}

fault! {
    ClaimsRotation breaks ["rotation"],
    fn keeps_singular_values(_mutant: &Mutant<Self>) -> bool {
        true
    }
}

fault! {
    DetachesFactor of Loha breaks ["gradient", "paths"],
    fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        with_first(&mutant.inner, Tensor::detach).update(site, w0)
    }
}

fault! {
    DoublesBackward of Loha breaks ["paths"],
    fn forward(mutant: &Mutant<Self>, call: &Call) -> Option<Features> {
        with_first(&mutant.inner, |x| x.clone().mul_scalar(2.0) - x.detach()).forward(call)
    }
}

fn with_first(inner: &Loha, change: impl Fn(Tensor<2>) -> Tensor<2>) -> Loha {
    let mut changed = inner.clone();
    changed.hada_w1_a = changed.hada_w1_a.map(change);
    changed
}

fault! {
    ExchangesCore breaks ["paths", "layers", "dropout"],
    const VARIANTS: &'static [Variant] = TUCKER;
    fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        let mut exchanged = mutant.inner.clone();
        exchanged.lora_mid = exchanged.lora_mid.map(|core| core.map(|core| core.swap_dims(0, 1)));
        exchanged.update(site, w0)
    }
}

fault! {
    AddsRanks of Lokr breaks ["rank"],
    fn rank_bound(mutant: &Mutant<Self>, site: &Site) -> usize {
        let w1 = mutant.inner.w1.lokr_w1.as_ref().expect("it is whole by default");
        let [l, m] = w1.dims();
        l.min(m) + (site.out() / l).min(site.cols() / m)
    }
}
