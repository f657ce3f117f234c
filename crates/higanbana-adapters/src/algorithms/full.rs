//! Full: the update is trained itself, of weights and of biases.
//!
//! $$\Delta W = D, \qquad \Delta b = d$$
//!
//! ```text
//! diff    D  [out, in·K]   zeros; in files of the weight's shape
//! diff_b  d  [out]         zeros
//! ```
//!
//! A weight and its bias are two sites with an adapter each; their files share a module.
//! Difference from LyCORIS: the difference is trained, not the sum, so that weight decay pulls
//! towards the base and not towards zero.
//!
//! The name is LyCORIS's: arXiv:2309.14859.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use higanbana_core::{
    Adapter, AdapterError, Budget, Call, Cost, Degree, Features, Init, NoOptions, Outline, Parts,
    Site, SiteKind, Tensors,
    parts::{dims, to_data},
    spectrum::SpectrumError,
};

/// A dense difference; see the [module](self).
#[derive(Module, Debug)]
pub struct Full {
    /// $D$, or $d$ as a column: `diff` in the file of a weight, `diff_b` in that of a bias.
    pub diff: Param<Tensor<2>>,
}

impl Adapter for Full {
    type Config = NoOptions;

    const NAME: &'static str = "full";
    const TITLE: &'static str = "Full";
    const REFERENCE: &'static str = "arXiv:2309.14859";
    const FORMULA: &'static str = "D";
    const RANK: &'static str = r"\min(out, in\,K)";
    const PARAMETERS: &'static str = r"out \cdot in\,K";
    const KEYS: &'static [&'static str] = &["diff", "diff_b"];
    const FITTED: Option<&'static str> = Some("all of it");
    const SITES: &'static [SiteKind] =
        &[SiteKind::Linear, SiteKind::Conv1d, SiteKind::Conv2d, SiteKind::Conv3d, SiteKind::Bias];

    fn detect(kind: SiteKind, tensors: &Tensors) -> bool {
        // A vector is the difference of a norm's scale.
        let is_norm = dims(tensors, "diff").len() == 1;
        Self::SITES.contains(&kind) && tensors.contains_key(key(kind)) && !is_norm
    }

    fn new(site: &Site, _config: &NoOptions, init: &mut Init) -> Result<Self, AdapterError> {
        Ok(Self { diff: Param::from_tensor(init.zeros([site.out(), site.cols()])) })
    }

    fn update(&self, _site: &Site, _w0: &Tensor<2>) -> Tensor<2> {
        self.diff.val()
    }

    fn added(&self, call: &Call, _y0: &Features) -> Option<Features> {
        Some(call.apply(self.diff.val().mul_scalar(call.strength)))
    }

    fn cost(&self, site: &Site, _groups: usize) -> Option<Cost> {
        Some(Cost { update: 0, shortcut: self.parameter_count(site) })
    }

    fn degree(&self) -> Degree {
        Degree::Update(vec![("diff", 1)])
    }

    fn rank_bound(&self, site: &Site) -> usize {
        site.full_rank()
    }

    fn parameter_count(&self, site: &Site) -> usize {
        site.out() * site.cols()
    }

    fn write(&self, site: &Site) -> Tensors {
        Tensors::from([(key(site.kind).into(), to_data(&self.diff.val(), site.shape.clone()))])
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        let diff = parts.unfolded(key(site.kind), &site.shape, [site.out(), site.cols()])?;
        Ok(Self { diff: Param::from_tensor(diff) })
    }

    fn outline(kind: SiteKind, tensors: &Tensors) -> Outline {
        Outline::new(dims(tensors, key(kind)), None)
    }

    fn sum(_site: &Site, terms: &[(f64, &Self)]) -> Option<Self> {
        let terms = terms.iter().map(|(strength, it)| it.diff.val().mul_scalar(*strength));
        Some(Self { diff: Param::from_tensor(terms.reduce(|sum, term| sum + term)?) })
    }

    /// Exact, whatever the budget: there is no rank to save.
    fn fit(
        _site: &Site,
        update: &Tensor<2>,
        _budget: Budget,
    ) -> Option<Result<Self, SpectrumError>> {
        Some(Ok(Self { diff: Param::from_tensor(update.clone()) }))
    }

    /// The target itself.
    fn nearest(
        &self,
        site: &Site,
        _w0: &Tensor<2>,
        target: &Tensor<2>,
    ) -> Option<Result<Self, SpectrumError>> {
        Self::fit(site, target, Budget::Energy(1.0))
    }
}

fn key(kind: SiteKind) -> &'static str {
    if kind == SiteKind::Bias { "diff_b" } else { "diff" }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, TensorData};

    use super::*;

    #[test]
    fn weight_and_bias_take_their_own_key_of_one_module() {
        let tensors = Tensors::from([
            ("diff".to_string(), TensorData::from([[1.0f32, 2.0], [3.0, 4.0]])),
            ("diff_b".to_string(), TensorData::from([5.0f32, 6.0])),
        ]);
        assert!(Full::detect(SiteKind::Linear, &tensors) && Full::detect(SiteKind::Bias, &tensors));
        let parts = Parts::new("l", &tensors, &Device::default(), DType::F32);
        for (kind, shape, key) in
            [(SiteKind::Linear, vec![2, 2], "diff"), (SiteKind::Bias, vec![2], "diff_b")]
        {
            let site = Site::new("l", kind, shape);
            let full = Full::read(&site, &parts).unwrap();
            assert_eq!(full.update(&site, &full.diff.val()).dims(), [2, site.cols()]);
            let written = full.write(&site);
            assert_eq!(written.keys().collect::<Vec<_>>(), [key]);
            written[key].assert_eq(&tensors[key], true);
        }
        assert!(parts.unused().is_empty());
    }

    #[test]
    fn the_bias_alone_is_enough_to_tell() {
        let bias = Tensors::from([("diff_b".to_string(), TensorData::from([5.0f32]))]);
        assert!(Full::detect(SiteKind::Bias, &bias));
        assert!(!Full::detect(SiteKind::Linear, &bias));
    }
}
