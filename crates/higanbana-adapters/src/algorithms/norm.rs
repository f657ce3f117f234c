//! Norm: scale and shift of a normalisation layer are trained themselves.
//!
//! $$\Delta g = w, \qquad \Delta b = c$$
//!
//! ```text
//! w_norm  w  [channels]   zeros
//! b_norm  c  [channels]   zeros
//! ```
//!
//! ComfyUI saves these differences of a norm as it does those of any layer: `diff` and `diff_b`.
//!
//! Scale and shift are two sites with an adapter each; their files share a module. Difference from
//! LyCORIS: a layer without a shift is no obstacle.
//!
//! The name is LyCORIS's: arXiv:2309.14859.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use higanbana_core::{
    Adapter, AdapterError, Budget, Degree, Init, NoOptions, Outline, Parts, Site, SiteKind,
    Tensors,
    parts::{dims, to_data},
    spectrum::SpectrumError,
};

/// A difference of a scale or a shift; see the [module](self).
#[derive(Module, Debug)]
pub struct Norm {
    /// $w$ or $c$: `w_norm` in the file of a scale, `b_norm` in that of a shift.
    pub norm: Param<Tensor<1>>,
}

impl Adapter for Norm {
    type Config = NoOptions;

    const NAME: &'static str = "norm";
    const TITLE: &'static str = "Norm";
    const REFERENCE: &'static str = "arXiv:2309.14859";
    const FORMULA: &'static str = "w";
    const RANK: &'static str = "1";
    const PARAMETERS: &'static str = "out";
    const KEYS: &'static [&'static str] = &["w_norm", "b_norm"];
    const FITTED: Option<&'static str> = Some("all of it");
    const SITES: &'static [SiteKind] = &[SiteKind::Norm, SiteKind::NormBias];

    fn detect(kind: SiteKind, tensors: &Tensors) -> bool {
        Self::SITES.contains(&kind)
            && (tensors.contains_key(key(kind)) || dims(tensors, other_key(kind)).len() == 1)
    }

    fn new(site: &Site, _config: &NoOptions, init: &mut Init) -> Result<Self, AdapterError> {
        Ok(Self { norm: Param::from_tensor(init.zeros([site.out()])) })
    }

    fn update(&self, site: &Site, _w0: &Tensor<2>) -> Tensor<2> {
        self.norm.val().reshape([site.out(), 1])
    }

    fn degree(&self) -> Degree {
        Degree::Update(vec![("norm", 1)])
    }

    fn rank_bound(&self, site: &Site) -> usize {
        site.full_rank()
    }

    fn parameter_count(&self, site: &Site) -> usize {
        site.out()
    }

    fn write(&self, site: &Site) -> Tensors {
        Tensors::from([(key(site.kind).into(), to_data(&self.norm.val(), [site.out()]))])
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        let own = key(site.kind);
        let key = if parts.has(own) { own } else { other_key(site.kind) };
        Ok(Self { norm: Param::from_tensor(parts.tensor(key, [site.out()])?) })
    }

    fn outline(kind: SiteKind, tensors: &Tensors) -> Outline {
        let own = dims(tensors, key(kind));
        Outline::new(if own.is_empty() { dims(tensors, other_key(kind)) } else { own }, None)
    }

    fn sum(_site: &Site, terms: &[(f64, &Self)]) -> Option<Self> {
        let terms = terms.iter().map(|(strength, it)| it.norm.val().mul_scalar(*strength));
        Some(Self { norm: Param::from_tensor(terms.reduce(|sum, term| sum + term)?) })
    }

    /// Exact, whatever the budget.
    fn fit(
        site: &Site,
        update: &Tensor<2>,
        _budget: Budget,
    ) -> Option<Result<Self, SpectrumError>> {
        Some(Ok(Self { norm: Param::from_tensor(update.clone().reshape([site.out()])) }))
    }
}

fn key(kind: SiteKind) -> &'static str {
    if kind == SiteKind::NormBias { "b_norm" } else { "w_norm" }
}

/// ComfyUI's.
fn other_key(kind: SiteKind) -> &'static str {
    if kind == SiteKind::NormBias { "diff_b" } else { "diff" }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, TensorData};

    use super::*;

    #[test]
    fn scale_and_shift_take_their_own_key_of_one_module() {
        let tensors = Tensors::from([
            ("w_norm".to_string(), TensorData::from([1.0f32, 2.0])),
            ("b_norm".to_string(), TensorData::from([3.0f32, 4.0])),
        ]);
        assert!(Norm::detect(SiteKind::Norm, &tensors));
        let parts = Parts::new("n", &tensors, &Device::default(), DType::F32);
        for (kind, key, column) in [
            (SiteKind::Norm, "w_norm", [[1.0f32], [2.0]]),
            (SiteKind::NormBias, "b_norm", [[3.0], [4.0]]),
        ] {
            let site = Site::new("n", kind, [2]);
            let norm = Norm::read(&site, &parts).unwrap();
            let update = norm.update(&site, &Tensor::zeros([2, 1], &Device::default()));
            update.to_data().assert_eq(&TensorData::from(column), true);
            norm.write(&site)[key].assert_eq(&tensors[key], true);
        }
        assert!(parts.unused().is_empty());
    }
}
