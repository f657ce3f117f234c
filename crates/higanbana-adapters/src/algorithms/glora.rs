//! GLoRA: a product of two thin matrices transforms the frozen weight's input, another one is added.
//!
//! $$\Delta W = \frac{\alpha}{r} \sigma (W_0 A_1 A_2 + B_1 B_2)$$
//!
//! On convolutions $A = A_1 A_2$ mixes input channels at every tap:
//! $\Delta W_{o,j,k} = \frac{\alpha}{r} \sigma (\sum_i W_{o,i,k} A_{i,j} + (B_1 B_2)_{o,j,k})$.
//!
//! ```text
//! a1  A₁  [in, r]     uniform ±1/√r
//! a2  A₂  [r, in]     zeros (with use_scalar: uniform ±1/√in)
//! b1  B₁  [out, r]    uniform ±1/√r
//! b2  B₂  [r, in·K]   zeros (with use_scalar: uniform ±1/√(in·K))
//! ```
//!
//! $\sigma$ is a trained number that starts at 0 and is folded into `a2` and `b2` on saving.
//!
//! Files from before LyCORIS 3 call the factors by each other's names: `a1 [r, in]`, `a2 [in, r]`,
//! `b1 [r, in]`, `b2 [out, r]`. Shapes tell the two apart unless r = in = out; then the file is
//! taken for a new one. Difference from LyCORIS: with `rs_lora` the file holds $\alpha\sqrt r$, so
//! that $\alpha/r$ is right for every reader. LyCORIS writes $\alpha$ and rereads another update; where
//! the metadata of its file say `rs_lora`, it is read as LyCORIS trained it, at $\alpha/\sqrt r$.
//!
//! GLoRA: arXiv:2306.07967.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use higanbana_core::{
    Adapter, AdapterError, Budget, Call, Cost, Degree, Features, Glimpse, Init, Outline, Parts,
    Site, SiteKind, Tensors, Variant,
    parts::{dims, scalar_data, to_data},
    spectrum::{self, SpectrumError},
    training::weigh_rows,
};
use serde::{Deserialize, Serialize};

use crate::scale::{Scalar, Scale};

/// Options of [`Glora`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GloraConfig {
    /// Rank $r$ of both products.
    pub rank: usize,
    /// $\alpha$; 0 stands for the rank.
    pub alpha: f64,
    /// Scale by $\alpha/\sqrt r$ instead of $\alpha/r$ (arXiv:2312.03732).
    pub rs_lora: bool,
    /// Trained scalar factor.
    pub use_scalar: bool,
}

impl Default for GloraConfig {
    fn default() -> Self {
        Self { rank: 4, alpha: 1.0, rs_lora: false, use_scalar: false }
    }
}

/// A GLoRA adapter; see the [module](self).
#[derive(Module, Debug)]
pub struct Glora {
    /// $A_1$.
    pub a1: Param<Tensor<2>>,
    /// $A_2$.
    pub a2: Param<Tensor<2>>,
    /// $B_1$.
    pub b1: Param<Tensor<2>>,
    /// $B_2$.
    pub b2: Param<Tensor<2>>,
    /// $\sigma$.
    pub scalar: Scalar,
    #[module(skip)]
    scale: Scale,
}

impl Adapter for Glora {
    type Config = GloraConfig;

    const NAME: &'static str = "glora";
    const TITLE: &'static str = "GLoRA";
    const REFERENCE: &'static str = "arXiv:2306.07967";
    const FORMULA: &'static str = r"\frac{\alpha}{r} (W_0 A_1 A_2 + B_1 B_2)";
    const RANK: &'static str = "r(K + 1)";
    const PARAMETERS: &'static str = r"r(2\,in + out + in\,K)";
    const KEYS: &'static [&'static str] =
        &["a1.weight", "a2.weight", "b1.weight", "b2.weight", "alpha"];
    const NEEDS_BASE: bool = true;
    const VARIANTS: &'static [Variant] = &[
        Variant { name: "use_scalar", options: "use_scalar = true" },
        Variant { name: "rs_lora", options: "rs_lora = true" },
    ];

    fn new(site: &Site, config: &GloraConfig, init: &mut Init) -> Result<Self, AdapterError> {
        let scale = Scale::thin(site, config.rank, config.alpha, config.rs_lora)?;
        let r = config.rank;
        let mut second = |cols| {
            if config.use_scalar {
                init.kaiming_uniform([r, cols], cols)
            } else {
                init.zeros([r, cols])
            }
        };
        let (a2, b2) = (second(site.input()), second(site.cols()));
        Ok(Self {
            a1: Param::from_tensor(init.kaiming_uniform([site.input(), r], r)),
            a2: Param::from_tensor(a2),
            b1: Param::from_tensor(init.kaiming_uniform([site.out(), r], r)),
            b2: Param::from_tensor(b2),
            scalar: Scalar::new(config.use_scalar, init),
            scale,
        })
    }

    fn update(&self, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        let [out, input, taps] = [site.out(), site.input(), site.taps()];
        let channels_last = w0.clone().reshape([out, input, taps]).swap_dims(1, 2);
        let mixed = channels_last
            .reshape([out * taps, input])
            .matmul(self.scaled(&self.a1))
            .matmul(self.a2.val())
            .reshape([out, taps, input])
            .swap_dims(1, 2)
            .reshape([out, site.cols()]);
        mixed + self.scaled(&self.b1).matmul(self.b2.val())
    }

    fn added(&self, call: &Call, _y0: &Features) -> Option<Features> {
        self.cost(call.site, call.op.groups())?;
        let ax = call.x.mix(self.a2.val()).mix(self.scaled(&self.a1).mul_scalar(call.strength));
        let bx = call.apply(self.b2.val()).mix(self.scaled(&self.b1).mul_scalar(call.strength));
        Some(call.apply_to(&ax, call.w0.clone()) + bx)
    }

    fn cost(&self, site: &Site, groups: usize) -> Option<Cost> {
        let weight = site.out() * site.cols();
        let shortcut = weight + self.parameter_count(site);
        (groups == 1).then_some(Cost { update: 3 * self.rank() * weight, shortcut })
    }

    fn degree(&self) -> Degree {
        let mut exponents = vec![("a1+b1", 1), ("a2+b2", 1)];
        exponents.extend(self.scalar.exponent());
        Degree::Update(exponents)
    }

    fn rank_bound(&self, site: &Site) -> usize {
        // W0 A1 spans another r columns at every tap.
        (self.rank() * (site.taps() + 1)).min(site.full_rank())
    }

    fn parameter_count(&self, site: &Site) -> usize {
        self.rank() * (2 * site.input() + site.out() + site.cols()) + self.scalar.count()
    }

    fn write(&self, site: &Site) -> Tensors {
        let r = self.rank();
        let folded = |second: &Param<Tensor<2>>| self.scalar.apply(second.val());
        let [a, b] = [site.pointwise_shape(site.input(), r), site.pointwise_shape(site.out(), r)];
        Tensors::from([
            ("a1.weight".into(), to_data(&self.a1.val(), a)),
            ("a2.weight".into(), to_data(&folded(&self.a2), site.pointwise_shape(r, site.input()))),
            ("b1.weight".into(), to_data(&self.b1.val(), b)),
            ("b2.weight".into(), to_data(&folded(&self.b2), site.kernel_shape(r, site.input()))),
            ("alpha".into(), scalar_data(self.scale.file_alpha())),
        ])
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        let [a1, a2, b1, b2] = if is_old(site, parts)? {
            ["a2.weight", "a1.weight", "b2.weight", "b1.weight"]
        } else {
            ["a1.weight", "a2.weight", "b1.weight", "b2.weight"]
        };
        let r = parts.dim(a2, 0)?;
        let kernel = site.kernel_shape(r, site.input());
        Ok(Self {
            a1: Param::from_tensor(parts.tensor(a1, [site.input(), r])?),
            a2: Param::from_tensor(parts.tensor(a2, [r, site.input()])?),
            b1: Param::from_tensor(parts.tensor(b1, [site.out(), r])?),
            b2: Param::from_tensor(parts.unfolded(b2, &kernel, [r, site.cols()])?),
            scalar: Scalar::none(),
            scale: match parts.is_set("rs_lora") {
                true => Scale::read_stabilised(parts, r)?,
                false => Scale::read(parts, r)?,
            },
        })
    }

    /// Of a file without metadata, which LyCORIS may have trained under `rs_lora`.
    fn assumption(module: &Glimpse) -> Option<&'static str> {
        let is_open = module.arguments.is_empty() && module.alpha.is_some();
        (is_open && module.keys.contains("a1.weight")).then_some(
            "GLoRA whose file does not say whether LyCORIS trained it with rs_lora, read as trained \
             without; if it was, its update is √rank times as large",
        )
    }

    /// Each of the two products has a draw of its own.
    fn weigh_ranks(&self, weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<Self> {
        let [a2, b2] = [&self.a2, &self.b2].map(|second| weigh_rows(second, weights(self.rank())));
        Some(Self { a2, b2, ..self.clone() })
    }

    fn outline(_kind: SiteKind, tensors: &Tensors) -> Outline {
        // Without the base, the layout is told by the rank being the shorter side.
        let old = matches!(dims(tensors, "a1.weight"), [r, input, ..] if r < input);
        let [b1, b2] = if old { ["b2.weight", "b1.weight"] } else { ["b1.weight", "b2.weight"] };
        let (&[out, r, ..], &[_, ref input @ ..]) = (dims(tensors, b1), dims(tensors, b2)) else {
            return Outline::default();
        };
        Outline::new([&[out], input].concat(), r)
    }

    /// Each of the two products is cut; they keep one rank, the larger that the budget asks for.
    fn resized(
        &self,
        site: &Site,
        _w0: &Tensor<2>,
        budget: Budget,
    ) -> Option<Result<Self, SpectrumError>> {
        Some(self.cut(site, budget))
    }
}

impl Glora {
    /// Rank $r$ of both products.
    pub fn rank(&self) -> usize {
        self.a1.lazy_shape()[1]
    }

    fn cut(&self, site: &Site, budget: Budget) -> Result<Self, SpectrumError> {
        let a = self.scaled(&self.a1).matmul(self.a2.val());
        let b = self.scaled(&self.b1).matmul(self.b2.val());
        let rank = |product| spectrum::singular_values(product).map(|s| budget.rank(&s));
        let r = rank(&a)?.max(rank(&b)?).min(site.input()).min(site.out());
        let cut = |product| {
            spectrum::low_rank(product, Budget::Rank(r))
                .map(|halves| halves.map(Param::from_tensor))
        };
        let ([a1, a2], [b1, b2]) = (cut(&a)?, cut(&b)?);
        Ok(Self { a1, a2, b1, b2, scalar: Scalar::none(), scale: self.scale.one_at(r) })
    }

    /// $\frac{\alpha}{r}\sigma$ times a first factor.
    fn scaled(&self, first: &Param<Tensor<2>>) -> Tensor<2> {
        self.scalar.apply(self.scale.apply(first.val()))
    }
}

/// Whether the shapes are those of the old layout and of no other.
fn is_old(site: &Site, parts: &Parts) -> Result<bool, AdapterError> {
    let new =
        parts.dim("a1.weight", 0)? == site.input() && parts.dim("b1.weight", 0)? == site.out();
    let old =
        parts.dim("a2.weight", 0)? == site.input() && parts.dim("b2.weight", 0)? == site.out();
    Ok(old && !new)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, TensorData};
    use higanbana_core::SiteKind;

    use super::*;

    fn tensors(entries: [(&str, TensorData); 4]) -> Tensors {
        entries.into_iter().map(|(key, data)| (format!("{key}.weight"), data)).collect()
    }

    fn read(site: &Site, tensors: &Tensors) -> Glora {
        Glora::read(site, &Parts::new("m", tensors, &Device::default(), DType::F32)).unwrap()
    }

    /// A = a1 a2 = [[1, 0], [2, 0]], B = b1 b2 = [[0, 1], [0, 2], [0, 3]].
    fn new_layout() -> Tensors {
        tensors([
            ("a1", TensorData::from([[1.0f32], [2.0]])),
            ("a2", TensorData::from([[1.0f32, 0.0]])),
            ("b1", TensorData::from([[1.0f32], [2.0], [3.0]])),
            ("b2", TensorData::from([[0.0f32, 1.0]])),
        ])
    }

    #[test]
    fn input_is_mixed_and_a_product_added() {
        let site = Site::new("l", SiteKind::Linear, [3, 2]);
        let w0 = Tensor::from_data([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]], &Device::default());
        // W0 A = [[3, 0], [2, 0], [1, 0]]
        let expected = TensorData::from([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]]);
        read(&site, &new_layout()).update(&site, &w0).to_data().assert_eq(&expected, false);
    }

    #[test]
    fn every_tap_is_mixed_alike() {
        let site = Site::new("c", SiteKind::Conv1d, [1, 2, 2]);
        let w0 = Tensor::from_data([[1.0, 2.0, 3.0, 4.0]], &Device::default());
        let mut file = new_layout();
        file.insert("b1.weight".into(), TensorData::from([[[1.0f32]]]));
        file.insert("b2.weight".into(), TensorData::from([[[0.0f32, 1.0], [0.0, 10.0]]]));
        // Tap 0: 1·1 + 3·2 = 7, tap 1: 2·1 + 4·2 = 10, both into channel 0.
        let expected = TensorData::from([[7.0, 11.0, 0.0, 10.0]]);
        read(&site, &file).update(&site, &w0).to_data().assert_eq(&expected, false);
    }

    #[test]
    fn the_old_layout_reads_as_the_new_one() {
        let site = Site::new("l", SiteKind::Linear, [3, 2]);
        let new = new_layout();
        let [a1, a2, b1, b2] =
            ["a2", "a1", "b2", "b1"].map(|key| new[&format!("{key}.weight")].clone());
        let old = tensors([("a1", a1), ("a2", a2), ("b1", b1), ("b2", b2)]);
        assert_eq!(read(&site, &old).write(&site), read(&site, &new).write(&site));
    }

    #[test]
    fn square_factors_read_as_the_new_layout() {
        let site = Site::new("l", SiteKind::Linear, [2, 2]);
        let square = |x: f32| TensorData::from([[x, 1.0], [0.0, 1.0]]);
        let file = tensors([
            ("a1", square(1.0)),
            ("a2", square(2.0)),
            ("b1", square(3.0)),
            ("b2", square(4.0)),
        ]);
        read(&site, &file).write(&site)["a1.weight"].assert_eq(&square(1.0), true);
    }

    #[test]
    fn lycoris_s_rs_lora_is_told_by_the_metadata() {
        let site = Site::new("l", SiteKind::Linear, [3, 2]);
        let mut file = new_layout();
        for (key, wide) in [("a1", [2, 4]), ("a2", [4, 2]), ("b1", [3, 4]), ("b2", [4, 2])] {
            file.insert(format!("{key}.weight"), TensorData::ones::<f32, _>(wide));
        }
        file.insert("alpha".into(), scalar_data(2.0));
        for (said, scale) in [(None, 0.5), (Some("False"), 0.5), (Some("True"), 1.0)] {
            let said = said.map(|said| ("rs_lora".to_string(), said.to_string()));
            let arguments = said.into_iter().collect();
            let parts =
                Parts::new("m", &file, &Device::default(), DType::F32).with_arguments(&arguments);
            let adapter = Glora::read(&site, &parts).unwrap();
            assert_eq!(adapter.scale.value(), scale);
            adapter.write(&site)["alpha"].assert_eq(&scalar_data(2.0), true);
            // What is cut stays what it says it is.
            let cut = adapter.cut(&site, Budget::Rank(1)).unwrap();
            cut.write(&site)["alpha"].assert_eq(&scalar_data(1.0), true);
        }
    }

    #[test]
    fn rs_lora_files_are_right_for_every_reader() {
        let site = Site::new("l", SiteKind::Linear, [8, 8]);
        let config = GloraConfig { rank: 4, alpha: 2.0, rs_lora: true, use_scalar: false };
        let mut init = Init::new(&site, Tensor::zeros([8, 8], &Device::default()), 0);
        let adapter = Glora::new(&site, &config, &mut init).unwrap();
        assert_eq!(adapter.scale.value(), 1.0);
        adapter.write(&site)["alpha"].assert_eq(&scalar_data(4.0), true);
    }
}
