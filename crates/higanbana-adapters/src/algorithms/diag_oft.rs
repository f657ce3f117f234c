//! Diag-OFT, orthogonal finetuning: blocks of rows are rotated, so that lengths of and angles
//! between the columns, and with them every singular value, stay.
//!
//! $$W = s \circ R^\top W_0, \qquad R = \operatorname{blockdiag}(R_1, \dots, R_k), \qquad
//! R_i = (I + Q_i)(I - Q_i)^{-1}, \qquad Q_i = B_i - B_i^\top$$
//!
//! ```text
//! oft_blocks  B  [k, b, b]   zeros; k·b = out, rows grouped contiguously
//! rescale     s  [out]       ones, with `rescaled` only; in files [out, 1, ...]
//! ```
//!
//! `rank` asks for a block size: where it divides `out`, `b` is the smaller of `rank` and
//! `out/rank`, else the largest divisor up to `rank` and √out. A block of one row cannot turn.
//!
//! The shortcut turns the layer's output instead, block by block.
//!
//! With a `constraint` $c$ (COFT) all $Q_i$ are shrunk together to $\lVert Q \rVert_F \le c\cdot out$;
//! files hold $c$ as `alpha`. Difference from LyCORIS: strength interpolates the rescaling too, so
//! that 0 switches all of it off.
//!
//! OFT: arXiv:2306.07280. Blocks, transpose and norm are those of LyCORIS.

use burn::{module::Module, tensor::Tensor};
use higanbana_core::{
    Adapter, AdapterError, Call, Cost, Degree, Features, Init, Outline, Parts, Site, SiteKind,
    Tensors, Variant, algebra,
    parts::dims,
    spectrum::{self, SpectrumError},
};

use super::rotation::{Rotation, RotationConfig, on_channels};

/// A Diag-OFT adapter; see the [module](self).
#[derive(Module, Debug)]
pub struct DiagOft {
    /// $B$ and $s$.
    pub rotation: Rotation,
}

impl Adapter for DiagOft {
    type Config = RotationConfig;

    const NAME: &'static str = "diag-oft";
    const TITLE: &'static str = "Diag-OFT";
    const REFERENCE: &'static str = "arXiv:2306.07280";
    const FORMULA: &'static str = r"s \circ R^\top W_0 - W_0,\; R = (I + Q)(I - Q)^{-1}";
    const RANK: &'static str = r"\min(2\lfloor b/2 \rfloor\,out/b, in\,K)";
    const PARAMETERS: &'static str = r"out\,b";
    const KEYS: &'static [&'static str] = Rotation::KEYS;
    const NEEDS_BASE: bool = true;
    const VARIANTS: &'static [Variant] = Rotation::VARIANTS;

    fn new(site: &Site, config: &RotationConfig, init: &mut Init) -> Result<Self, AdapterError> {
        let (b, k) = algebra::factorization(site.out(), config.block_size(site)?);
        Ok(Self { rotation: Rotation::new(site, config, [k, b], init)? })
    }

    fn update(&self, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        self.update_gamma(site, w0, 1.0)
    }

    fn added(&self, call: &Call, y0: &Features) -> Option<Features> {
        self.cost(call.site, call.op.groups())?;
        let turned = on_channels(y0, |y| self.turned(call.site, y, 1.0));
        Some(turned.mul_scalar(call.strength))
    }

    fn cost(&self, site: &Site, groups: usize) -> Option<Cost> {
        let [_, b] = self.rotation.dims();
        let shortcut = site.out() * b;
        // No block may mix rows of different groups.
        let apart = (site.out() / groups).is_multiple_of(b);
        apart.then(|| Cost { update: shortcut * site.cols(), shortcut })
    }

    fn degree(&self) -> Degree {
        self.rotation.degree()
    }

    fn update_gamma(&self, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        self.turned(site, w0.clone(), gamma)
    }

    fn rank_bound(&self, site: &Site) -> usize {
        // R - I = 2 Q (I - Q)⁻¹ has the rank of Q, and a skew matrix has even rank.
        let [k, b] = self.rotation.dims();
        let rows = if self.rotation.rescale.is_some() { site.out() } else { k * (b - b % 2) };
        rows.min(site.cols())
    }

    fn keeps_singular_values(&self) -> bool {
        self.rotation.keeps_lengths()
    }

    fn parameter_count(&self, site: &Site) -> usize {
        self.rotation.count(site)
    }

    fn write(&self, site: &Site) -> Tensors {
        let [k, b] = self.rotation.dims();
        self.rotation.write(site, [k, b, b])
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        let (k, b) = (parts.dim("oft_blocks", 0)?, parts.dim("oft_blocks", 1)?);
        if k.checked_mul(b) != Some(site.out()) {
            let expected = format!("[k, b, b] with k·b = {}", site.out());
            return Err(parts.misshapen("oft_blocks", expected));
        }
        Ok(Self { rotation: Rotation::read(site, parts, &[k], b)? })
    }

    fn outline(_kind: SiteKind, tensors: &Tensors) -> Outline {
        match dims(tensors, "oft_blocks") {
            &[k, b, ..] => Outline::rows(k.saturating_mul(b)),
            _ => Outline::default(),
        }
    }

    /// Procrustes, block by block ([`spectrum::procrustes`]); there is no closed form with rescaling
    /// or within a constraint.
    fn nearest(
        &self,
        _site: &Site,
        w0: &Tensor<2>,
        target: &Tensor<2>,
    ) -> Option<Result<Self, SpectrumError>> {
        let [_, b] = self.rotation.dims();
        let generators = spectrum::procrustes(w0, &(w0.clone() + target.clone()), b);
        let of = |q| self.rotation.generated_by(q).map(|rotation| Self { rotation });
        generators.map(of).transpose()
    }
}

impl DiagOft {
    /// $s \circ R^\top X - X$ for the rows of a weight, or for the channels of its output.
    fn turned(&self, site: &Site, x: Tensor<2>, gamma: f64) -> Tensor<2> {
        let deviations = self.rotation.deviations(site, gamma);
        let turned = algebra::rotate_rows_transposed(deviations, x.clone());
        self.rotation.rescaled(turned, x, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        tensor::{DType, Device, TensorData, ops::ConvOptions},
    };
    use higanbana_core::{Op, SiteKind, spectrum::singular_values};

    use super::*;

    fn tensor<const D: usize>(entries: &[f64], shape: [usize; D]) -> Tensor<D> {
        let data = TensorData::new(entries.to_vec(), shape);
        Tensor::from_data(data, (&Device::default(), DType::F64))
    }

    /// `Q = [[0, ½], [-½, 0]]`, so `R = [[0.6, 0.8], [-0.8, 0.6]]`.
    fn turned(constraint: f64, rescale: Option<[f64; 2]>) -> Vec<f64> {
        let site = Site::new("l", SiteKind::Linear, [2, 1]);
        let config = RotationConfig { constraint, ..RotationConfig::default() };
        let init = Init::new(&site, tensor(&[0.0; 2], [2, 1]), 1);
        let mut rotation = Rotation::new(&site, &config, [1, 2], &init).unwrap();
        rotation.oft_blocks = Param::from_tensor(tensor(&[0.0, 0.5, 0.0, 0.0], [1, 2, 2]));
        rotation.rescale = rescale.map(|s| Param::from_tensor(tensor(&s, [2])));
        let adapter = DiagOft { rotation };
        adapter.update(&site, &tensor(&[1.0, 0.0], [2, 1])).try_into_vec_as().unwrap()
    }

    fn close(actual: &[f64], expected: &[f64], tolerance: f64) {
        let near = |(a, e): (&f64, &f64)| (a - e).abs() < tolerance;
        assert!(actual.iter().zip(expected).all(near), "{actual:?} is not {expected:?}");
    }

    #[test]
    fn rows_turn_by_the_transpose_and_are_rescaled() {
        close(&turned(0.0, None), &[-0.4, 0.8], 1e-15);
        close(&turned(0.0, Some([2.0, 0.5])), &[0.2, 0.4], 1e-15);
    }

    #[test]
    fn the_constraint_times_out_bounds_the_generator() {
        // ‖Q‖ = √½ is shrunk to 2c, so that q = √2 c: R e₁ = [1 - q², 2q] / (1 + q²).
        let q = 0.1;
        let expected = [-2.0 * q * q / (1.0 + q * q), 2.0 * q / (1.0 + q * q)];
        close(&turned(q / 2f64.sqrt(), None), &expected, 1e-8);
        close(&turned(1.0, None), &[-0.4, 0.8], 1e-15);
    }

    #[test]
    fn every_singular_value_stays() {
        let site = Site::new("c", SiteKind::Conv2d, [12, 2, 3, 1]);
        let mut init = Init::new(&site, tensor(&[0.0; 72], [12, 6]), 1);
        let w0 = init.normal([12, 6], 1.0);
        let mut adapter = DiagOft::new(&site, &RotationConfig::default(), &mut init).unwrap();
        assert_eq!(adapter.rotation.dims(), [4, 3]);
        adapter.rotation.oft_blocks = Param::from_tensor(init.normal([4, 3, 3], 1.0));
        let update = adapter.update(&site, &w0);
        let before = singular_values(&w0).unwrap();
        close(&singular_values(&(w0 + update)).unwrap(), &before, 1e-13);
    }

    #[test]
    fn the_shortcut_serves_groups_that_no_block_crosses() {
        let site = Site::new("c", SiteKind::Conv2d, [12, 1, 1, 1]);
        let mut init = Init::new(&site, tensor(&[0.0; 12], [12, 1]), 1);
        let (w0, blocks) = (init.normal([12, 1], 1.0), init.normal([4, 3, 3], 1.0));
        let mut adapter = DiagOft::new(&site, &RotationConfig::default(), &mut init).unwrap();
        adapter.rotation.oft_blocks = Param::from_tensor(blocks);
        for (groups, served) in [(1, true), (2, true), (3, false)] {
            let x = Features::Maps(init.normal([2, groups, 3, 2], 1.0));
            let op = Op::Conv2d(ConvOptions::new([1, 1], [0, 0], [1, 1], groups));
            let call = Call { site: &site, w0: &w0, x: &x, op: &op, strength: 0.5 };
            let added = adapter.added(&call, &call.apply(w0.clone()));
            assert_eq!(added.is_some(), served, "{groups} groups");
            let defined = call.apply(adapter.update_at(&site, &w0, 0.5));
            if let (Some(Features::Maps(added)), Features::Maps(defined)) = (added, defined) {
                assert!((added - defined).abs().max().into_scalar::<f64>() < 1e-14);
            }
        }
    }
}
