//! Injection into a small model with every kind of child.

use burn::{
    module::{Module, Param},
    nn::{
        Embedding, EmbeddingConfig, GroupNorm, GroupNormConfig, Linear, LinearConfig,
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Distribution, Tensor, TensorData},
};
use higanbana_core::{
    Adapter, AdapterError, Degree, Init, Parts, Registry, Site, SiteKind, Tensors,
};

use super::*;
use crate::registry;

mod finding;
mod lifecycle;
mod placing;
mod selecting;
mod training;

/// Attention as diffusers names it.
#[derive(Module, Debug)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_out: Vec<Linear>,
}

#[derive(Module, Debug)]
struct Transformer2DModel {
    norm: GroupNorm,
    proj_in: Conv2d,
    attn_1: Attention,
}

/// A layer of one's own, with its parameters where Burn's `Linear` has them.
#[derive(Module, Debug)]
struct Projection {
    weight: Param<Tensor<2>>,
    bias: Option<Param<Tensor<1>>>,
}

/// One of several modules: the variant's name is in Burn's paths.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Block {
    Attended(Transformer2DModel),
}

#[derive(Module, Debug)]
struct Net {
    embed: Embedding,
    conv_in: Conv2d,
    down_blocks: Vec<Block>,
    out_proj: Projection,
}

fn net(device: &Device) -> Net {
    let linear = |input, out| LinearConfig::new(input, out).init(device);
    let attention = || Attention {
        to_q: linear(4, 6),
        to_k: linear(4, 6),
        to_out: vec![linear(6, 4), LinearConfig::new(4, 4).with_bias(false).init(device)],
    };
    let block = || {
        Block::Attended(Transformer2DModel {
            norm: GroupNormConfig::new(2, 4).init(device),
            proj_in: Conv2dConfig::new([4, 4], [1, 1]).init(device),
            attn_1: attention(),
        })
    };
    Net {
        embed: EmbeddingConfig::new(3, 4).init(device),
        conv_in: Conv2dConfig::new([3, 4], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init(device),
        down_blocks: vec![block(), block()],
        out_proj: Projection { weight: linear(4, 5).weight, bias: None },
    }
}

impl Net {
    /// `[batch, 3, height, width]` to `[batch, positions, 5]`.
    fn forward(&self, x: Tensor<4>) -> Tensor<3> {
        let mut x = self.conv_in.forward(x);
        for Block::Attended(block) in &self.down_blocks {
            x = block.proj_in.forward(block.norm.forward(x));
            let [batch, channels, height, width] = x.dims();
            let rows = x.reshape([batch, channels, height * width]).swap_dims(1, 2);
            let attention = &block.attn_1;
            let q = attention.to_q.forward(rows.clone()) * attention.to_k.forward(rows.clone());
            let rows = rows + attention.to_out[1].forward(attention.to_out[0].forward(q));
            x = rows.swap_dims(1, 2).reshape([batch, channels, height, width]);
        }
        let [batch, channels, height, width] = x.dims();
        let rows = x.reshape([batch, channels, height * width]).swap_dims(1, 2);
        burn::tensor::module::linear(rows, self.out_proj.weight.val(), None)
    }
}

fn input(device: &Device) -> Tensor<4> {
    Tensor::random([2, 3, 4, 4], Distribution::Normal(0.0, 1.0), device)
}

/// Every parameter outside adapters, by path.
fn base(model: &impl Module) -> Vec<(String, TensorData)> {
    all(model).into_iter().filter(|(path, _)| !path.contains("adapters")).collect()
}

/// Every parameter inside adapters, by path.
fn factors(model: &impl Module) -> Vec<(String, TensorData)> {
    all(model).into_iter().filter(|(path, _)| path.contains("adapters")).collect()
}

fn all(model: &impl Module) -> Vec<(String, TensorData)> {
    #[derive(Default)]
    struct All {
        path: Vec<String>,
        found: Vec<(String, TensorData)>,
    }
    impl burn::module::ModuleVisitor for All {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push((self.path.join("."), param.base().into_data()));
        }
    }
    let mut visitor = All::default();
    model.visit(&mut visitor);
    visitor.found
}

fn lora(set: &str) -> Injection {
    Injection::new(set, "lora").options(toml::toml! { rank = 2 })
}

fn paths(report: &Report) -> Vec<&str> {
    report.adapted.iter().map(|adapted| adapted.site.path.as_str()).collect()
}

/// Replaces every factor by random numbers, so that adapters act.
fn shake<M: Module>(model: M) -> M {
    struct Shake(usize);
    impl burn::module::ModuleMapper for Shake {
        fn enter_module(&mut self, _: &str, container: &str) {
            self.0 += usize::from(container == "Reparameterization");
        }
        fn exit_module(&mut self, _: &str, container: &str) {
            self.0 -= usize::from(container == "Reparameterization");
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if self.0 == 0 {
                return param;
            }
            param.map(|old| {
                let new = old.random_like(Distribution::Normal(0.0, 0.3));
                new.detach().set_require_grad(old.is_require_grad())
            })
        }
    }
    model.map(&mut Shake(0))
}

/// A user's own algorithm: `ΔW = v 1ᵀ`, on everything that there is.
#[derive(Module, Debug)]
struct RowShift {
    v: Param<Tensor<1>>,
}

impl Adapter for RowShift {
    type Config = toml::Table;

    const NAME: &'static str = "row-shift";
    const TITLE: &'static str = "Row shift";
    const REFERENCE: &'static str = "";
    const FORMULA: &'static str = "v 1ᵀ";
    const RANK: &'static str = "1";
    const PARAMETERS: &'static str = "out";
    const KEYS: &'static [&'static str] = &["v"];
    const SITES: &'static [SiteKind] =
        &[SiteKind::Linear, SiteKind::Conv2d, SiteKind::Norm, SiteKind::NormBias, SiteKind::Bias];

    fn new(site: &Site, _: &toml::Table, init: &mut Init) -> Result<Self, AdapterError> {
        Ok(Self { v: Param::from_tensor(init.zeros([site.out()])) })
    }
    fn update(&self, site: &Site, _: &Tensor<2>) -> Tensor<2> {
        self.v.val().reshape([site.out(), 1]).expand([site.out(), site.cols()])
    }
    fn degree(&self) -> Degree {
        Degree::Update(vec![("v", 1)])
    }
    fn rank_bound(&self, _: &Site) -> usize {
        1
    }
    fn parameter_count(&self, site: &Site) -> usize {
        site.out()
    }
    fn write(&self, site: &Site) -> Tensors {
        let v = higanbana_core::parts::to_data(&self.v.val(), [site.out()]);
        Tensors::from([("v".into(), v)])
    }
    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        Ok(Self { v: Param::from_tensor(parts.tensor("v", [site.out()])?) })
    }
}

fn with_row_shift() -> Registry {
    registry().with::<RowShift>()
}
