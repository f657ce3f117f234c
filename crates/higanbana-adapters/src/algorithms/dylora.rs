//! DyLoRA: a LoRA whose every rank prefix is an adapter too.
//!
//! $$\Delta W^{(p)} = \frac{\alpha}{r} B_{:,:p} A_{:p,:}, \qquad 1 \le p \le r$$
//!
//! ```text
//! lora_up    B  [out, r]      zeros
//! lora_down  A  [r, in·K]     uniform ±1/√(in·K)
//! ```
//!
//! The rank falls into blocks of `block_size`. A training step ([`Condition::step`]) draws one block
//! of each site from its seed, acts with the prefix that ends there and trains that block alone: the
//! blocks below are held, those above are off. Otherwise [`Condition::rank`] chooses the prefix, by
//! default the whole; nothing is random then.
//!
//! Differences from LyCORIS: every prefix has the scale $\alpha/r$ of the file (LyCORIS trains with
//! $\alpha$ over the number of blocks and saves $\alpha$, so that its files are too weak by
//! `block_size`); blocks that are not trained have gradients of zero instead of none; and
//! `lora_up` of a convolution is saved as `[out, r, 1, ...]`, which its loader can read.
//!
//! DyLoRA: arXiv:2210.07558.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use higanbana_core::{
    Adapter, AdapterError, Budget, Call, Condition, Cost, Degree, Features, Glimpse, Init, Outline,
    Parts, Site, SiteKind, Tensors, Variant, init, spectrum::SpectrumError,
};
use serde::{Deserialize, Serialize};

use super::lora::Lora;
use crate::scale::LowRankConfig;

/// Options of [`DyLora`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DyLoraConfig {
    /// Full rank $r$.
    pub rank: usize,
    /// $\alpha$; 0 stands for the rank.
    pub alpha: f64,
    /// Ranks that are trained together; divides the rank.
    pub block_size: usize,
}

impl Default for DyLoraConfig {
    fn default() -> Self {
        Self { rank: 4, alpha: 1.0, block_size: 4 }
    }
}

/// A DyLoRA adapter; see the [module](self).
#[derive(Module, Debug)]
pub struct DyLora {
    /// The whole of it.
    pub inner: Lora,
    #[module(skip)]
    block_size: usize,
    #[module(skip)]
    prefix: Option<usize>,
    #[module(skip)]
    step: Option<u64>,
}

impl Adapter for DyLora {
    type Config = DyLoraConfig;

    const NAME: &'static str = "dylora";
    const TITLE: &'static str = "DyLoRA";
    const REFERENCE: &'static str = "arXiv:2210.07558";
    const FORMULA: &'static str = r"\frac{\alpha}{r} B_{:,:p} A_{:p,:}";
    const RANK: &'static str = "p";
    const PARAMETERS: &'static str = r"r(out + in\,K)";
    const KEYS: &'static [&'static str] = &["lora_up.weight", "lora_down.weight", "alpha"];
    const VARIANTS: &'static [Variant] = &[Variant { name: "blocks", options: "block_size = 2" }];

    /// Never: its files are LoRA's, key for key, and read as such they give the full rank. Where the
    /// metadata of a file name this algorithm, resizing it takes a prefix.
    fn detect(_kind: SiteKind, _tensors: &Tensors) -> bool {
        false
    }

    fn new(site: &Site, config: &DyLoraConfig, init: &mut Init) -> Result<Self, AdapterError> {
        let DyLoraConfig { rank, alpha, block_size } = *config;
        if !rank.is_multiple_of(block_size) {
            let reason = format!("rank {rank} is no multiple of block_size {block_size}");
            return Err(AdapterError::option(site, reason));
        }
        let inner = LowRankConfig { rank, alpha, ..LowRankConfig::default() };
        Ok(Self { block_size, ..Self::whole(Lora::new(site, &inner, init)?) })
    }

    fn update(&self, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        self.acting(site).update(site, w0)
    }

    fn added(&self, call: &Call, y0: &Features) -> Option<Features> {
        self.acting(call.site).added(call, y0)
    }

    fn cost(&self, site: &Site, groups: usize) -> Option<Cost> {
        let p = self.active(site).1;
        let (update, shortcut) = (site.out() * p * site.cols(), p * (site.out() + site.cols()));
        (groups == 1).then_some(Cost { update, shortcut })
    }

    fn degree(&self) -> Degree {
        self.inner.degree()
    }

    fn rank_bound(&self, site: &Site) -> usize {
        self.active(site).1.min(site.full_rank())
    }

    fn parameter_count(&self, site: &Site) -> usize {
        self.inner.parameter_count(site)
    }

    fn write(&self, site: &Site) -> Tensors {
        self.inner.write(site)
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        match parts.shape("lora_mid.weight") {
            None => Lora::read(site, parts).map(Self::whole),
            Some(_) => {
                Err(parts.misshapen("lora_mid.weight", "no core between nested ranks".into()))
            }
        }
    }

    /// Of a file whose metadata name the algorithm, and do not train the ranks one by one.
    fn assumption(module: &Glimpse) -> Option<&'static str> {
        let argument = |name: &str| module.arguments.get(name).map(String::as_str);
        let is_it = argument("algo").is_some_and(|it| it.eq_ignore_ascii_case(Self::NAME));
        let is_open = is_it && argument("block_size") != Some("1");
        (is_open && module.keys.contains("lora_up.weight")).then_some(
            "DyLoRA, read at alpha/rank as every program reads it; if LyCORIS trained it, at alpha over \
             the number of blocks, its update is block_size times as large, 4 unless told otherwise",
        )
    }

    fn outline(kind: SiteKind, tensors: &Tensors) -> Outline {
        Lora::outline(kind, tensors)
    }

    /// The leading ranks at the same scale: a prefix, which is an adapter too. The truncated singular
    /// value decomposition comes closer, and is LoRA's. The budget counts the norms of the ranks' own
    /// updates.
    fn resized(
        &self,
        _site: &Site,
        _w0: &Tensor<2>,
        budget: Budget,
    ) -> Option<Result<Self, SpectrumError>> {
        Some(self.norms_by_rank().map(|norms| {
            let r = budget.rank(&norms).min(self.rank());
            let leading = |factor: &Param<Tensor<2>>, dim| {
                Param::from_tensor(factor.val().narrow(dim, 0, r).detach())
            };
            let (up, down) = (leading(&self.inner.lora_up, 1), leading(&self.inner.lora_down, 0));
            Self::whole(self.inner.with_factors(up, down))
        }))
    }

    fn weigh_ranks(&self, weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<Self> {
        Some(Self { inner: self.inner.weigh_ranks(weights)?, ..self.clone() })
    }

    fn condition(&mut self, condition: &Condition) {
        self.prefix = condition.rank;
        self.step = condition.step;
    }
}

impl DyLora {
    /// Files do not hold the size of the blocks; one of one rank divides every rank.
    fn whole(inner: Lora) -> Self {
        Self { inner, block_size: 1, prefix: None, step: None }
    }

    /// Full rank $r$.
    pub fn rank(&self) -> usize {
        self.inner.rank()
    }

    /// Frobenius norm of what each rank adds to the update.
    fn norms_by_rank(&self) -> Result<Vec<f64>, SpectrumError> {
        let squares = |x: Tensor<2>, dim| x.square().sum_dim(dim).reshape([self.rank()]);
        let down = self.inner.lora_down.val();
        let squares: Tensor<1> = squares(self.inner.scaled_up(), 0) * squares(down, 1);
        Ok(squares.sqrt().try_to_vec_as::<f64>()?)
    }

    /// Ranks that are held, and the prefix that acts: those between the two are trained.
    fn active(&self, site: &Site) -> (usize, usize) {
        let r = self.rank();
        match (self.prefix, self.step) {
            (Some(prefix), _) => (0, prefix.clamp(1, r)),
            (None, None) => (0, r),
            (None, Some(step)) => {
                let start = self.block_size * init::choose(site, step, r / self.block_size);
                (start, start + self.block_size)
            }
        }
    }

    /// $\frac{\alpha}{r} B_{:,:p} A_{:p,:}$.
    fn acting(&self, site: &Site) -> Lora {
        let (held, prefix) = self.active(site);
        let nested = |factor: &Param<Tensor<2>>, dim| {
            factor.clone().map(|factor| nested(factor, dim, held, prefix))
        };
        self.inner.with_factors(nested(&self.inner.lora_up, 1), nested(&self.inner.lora_down, 0))
    }
}

/// The first `prefix` ranks of a factor along `dim`, the first `held` of them without gradient.
fn nested(factor: Tensor<2>, dim: usize, held: usize, prefix: usize) -> Tensor<2> {
    let trained = factor.clone().narrow(dim, held, prefix - held);
    if held == 0 {
        return trained;
    }
    Tensor::cat(vec![factor.narrow(dim, 0, held).detach(), trained], dim)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use higanbana_core::SiteKind;

    use super::*;

    /// Rank 4 in blocks of 2; component i of the product is i + 1, and the scale is 1/2.
    fn adapter() -> (Site, DyLora) {
        let device = Device::default().autodiff();
        let mut init = Init::new(&site(), Tensor::zeros([1, 1], &device), 0);
        let config = DyLoraConfig { rank: 4, alpha: 2.0, block_size: 2 };
        let mut adapter = DyLora::new(&site(), &config, &mut init).unwrap();
        let up = Tensor::from_data([[1.0, 2.0, 3.0, 4.0]], &device);
        adapter.inner.lora_up = Param::from_tensor(up);
        adapter.inner.lora_down = Param::from_tensor(Tensor::ones([4, 1], &device));
        (site(), adapter)
    }

    fn site() -> Site {
        Site::new("l", SiteKind::Linear, [1, 1])
    }

    fn update(site: &Site, adapter: &DyLora) -> Tensor<2> {
        adapter.update(site, &Tensor::zeros([1, 1], &Device::default()))
    }

    #[test]
    fn every_prefix_has_the_scale_of_the_full_rank() {
        let (site, mut adapter) = adapter();
        for (prefix, sum) in [(1, 0.5f32), (2, 1.5), (3, 3.0), (4, 5.0), (9, 5.0), (0, 0.5)] {
            adapter.condition(&Condition::with_rank(prefix));
            assert_eq!(update(&site, &adapter).into_scalar::<f32>(), sum, "prefix {prefix}");
        }
        adapter.condition(&Condition::default());
        assert_eq!(update(&site, &adapter).into_scalar::<f32>(), 5.0);
    }

    #[test]
    fn a_smaller_rank_is_a_prefix() {
        let (site, mut adapter) = adapter();
        let w0 = Tensor::zeros([1, 1], &Device::default());
        let small = adapter.resized(&site, &w0, Budget::Rank(2)).unwrap().unwrap();
        adapter.condition(&Condition::with_rank(2));
        assert_eq!(update(&site, &small).to_data(), update(&site, &adapter).to_data());
        // Their norms are 1/2, 1, 3/2 and 2: three of them have 14/30 of the squares.
        let small = adapter.resized(&site, &w0, Budget::Energy(0.4)).unwrap().unwrap();
        assert_eq!(small.rank(), 3);
    }

    #[test]
    fn a_step_trains_one_block_above_held_ones() {
        let (site, mut adapter) = adapter();
        let mut seen = [false; 2];
        for step in 0..16 {
            adapter.condition(&Condition { step: Some(step), ..Condition::default() });
            let update = update(&site, &adapter);
            let grads = update.clone().backward();
            let up = adapter.inner.lora_up.val().grad(&grads).unwrap().to_data();
            let down = adapter.inner.lora_down.val().grad(&grads).unwrap().to_data();
            let low = update.into_scalar::<f32>() == 1.5;
            let (expected_up, expected_down) = if low {
                ([[0.5f32, 0.5, 0.0, 0.0]], [[0.5f32], [1.0], [0.0], [0.0]])
            } else {
                ([[0.0, 0.0, 0.5, 0.5]], [[0.0], [0.0], [1.5], [2.0]])
            };
            up.assert_eq(&TensorData::from(expected_up), true);
            down.assert_eq(&TensorData::from(expected_down), true);
            seen[usize::from(low)] = true;
        }
        assert_eq!(seen, [true, true], "16 steps drew one block only");
    }

    #[test]
    fn blocks_divide_the_rank() {
        let mut init = Init::new(&site(), Tensor::zeros([1, 1], &Device::default()), 0);
        let config = DyLoraConfig { rank: 6, block_size: 4, ..DyLoraConfig::default() };
        let error = DyLora::new(&site(), &config, &mut init).unwrap_err().to_string();
        assert_eq!(error, "l: rank 6 is no multiple of block_size 4");
    }
}
