//! Faults in what an adapter says of itself: options, alpha, strength, degree, files.

use burn::tensor::Tensor;
use higanbana::{
    adapters::{algorithms::lora::Lora, scale::LowRankConfig},
    prelude::*,
};

use super::{Fault, Mutant};

fault! {
    RefusesSet breaks ["coverage"],
    const VARIANTS: &'static [Variant] = &[Variant { name: "nothing", options: "rank = 0" }];
}

fault! {
    DividesZero breaks ["alpha"],
    fn new(site: &Site, config: &LowRankConfig, init: &mut Init) -> Result<Lora, AdapterError> {
        // Of no size beside any other, and still an alpha.
        let alpha = if config.alpha == 0.0 { 1e-200 } else { config.alpha };
        Lora::new(site, &LowRankConfig { alpha, ..config.clone() }, init)
    }
}

fault! {
    ChangesWithAlpha breaks ["sum"],
    fn with_alpha(inner: &Lora, alpha: f64) -> Option<Lora> {
        let mut other = inner.with_alpha(alpha)?;
        other.lora_up = other.lora_up.map(|up| up.mul_scalar(1.0 + 1e-9));
        Some(other)
    }
}

fault! {
    MovesBetween breaks ["identity", "strength", "paths", "layers", "dropout", "rank"],
    fn update_at(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>, strength: f64) -> Tensor<2> {
        let between = w0.ones_like().mul_scalar(1e-9 * strength * (1.0 - strength));
        mutant.inner.update_at(site, w0, strength) + between
    }
}

fault! {
    ScalesGamma breaks ["homogeneity"],
    fn update_gamma(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        mutant.inner.update(site, w0).mul_scalar(3.0 * gamma)
    }
}

fault! {
    NeedlessInside breaks ["homogeneity"],
    fn degree(_mutant: &Mutant<Self>) -> Degree {
        Degree::Inside { map: "γ B A", exponents: vec![("lora_up", 1), ("lora_down", 1)] }
    }
}

// $T = s B A + \lVert B \rVert^2$: of degree 2 if both factors grow alike, and of none if each does by itself.
fault! {
    OfTwoKinds breaks [],
    fn update(mutant: &Mutant<Self>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        let square = mutant.inner.lora_up.val().square().sum().unsqueeze::<2>();
        mutant.inner.update(site, w0) + square.expand([site.out(), site.cols()])
    }
    fn added(_mutant: &Mutant<Self>, _call: &Call, _y0: &Features) -> Option<Features> {
        None
    }
    fn cost(_mutant: &Mutant<Self>, _site: &Site, _groups: usize) -> Option<Cost> {
        None
    }
    fn degree(_mutant: &Mutant<Self>) -> Degree {
        Degree::None { why: "each factor has one of its own" }
    }
    fn rank_bound(_mutant: &Mutant<Self>, site: &Site) -> usize {
        site.full_rank()
    }
}

fault! {
    ComesBackScaled breaks ["pointwise"],
    fn read(site: &Site, parts: &Parts) -> Result<Lora, AdapterError> {
        let mut read = Lora::read(site, parts)?;
        let is_kernel = parts.shape("lora_up.weight").is_some_and(|shape| shape.len() > 2);
        if site.kind == SiteKind::Linear && is_kernel {
            read.lora_up = read.lora_up.map(|up| up.mul_scalar(2.0));
        }
        Ok(read)
    }
}

fault! {
    PanicsWhenProbed breaks ["misfit"],
    fn read(site: &Site, parts: &Parts) -> Result<Lora, AdapterError> {
        let is_probe = parts.tensor("lora_up.weight", [77, 77]).is_ok_and(|up: Tensor<2>| up.dims() == [77, 77]);
        assert!(!is_probe, "that cannot be");
        Lora::read(site, parts)
    }
}

fault! {
    ReadsTwice breaks ["files", "pointwise"],
    fn read(site: &Site, parts: &Parts) -> Result<Lora, AdapterError> {
        let mut read = Lora::read(site, parts)?;
        read.lora_up = read.lora_up.map(|up| up.mul_scalar(2.0));
        Ok(read)
    }
}

// On some layers, and for no reason that options have.
fault! {
    FailsOnWide breaks ["coverage"],
    fn new(site: &Site, config: &LowRankConfig, init: &mut Init) -> Result<Lora, AdapterError> {
        if site.kind == SiteKind::Linear && site.out() < site.cols() {
            return Err(AdapterError::NeedsBase { module: site.path.clone() });
        }
        Lora::new(site, config, init)
    }
}
