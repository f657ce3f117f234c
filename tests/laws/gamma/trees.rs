//! Random homogeneous maps: sums, matrix, Hadamard and Kronecker products of trained matrices.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use higanbana::prelude::*;
use serde::{Deserialize, Serialize};

/// Number of maps.
pub const COUNT: usize = 12;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TreeConfig {
    /// Which map.
    tree: u64,
}

/// An adapter whose update is the map of a number.
#[derive(Module, Debug)]
pub struct Tree {
    leaves: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    tree: u64,
}

macro_rules! variants {
    ($($n:literal)*) => {
        &[$(Variant { name: stringify!($n), options: concat!("tree = ", stringify!($n)) }),*]
    };
}

impl Adapter for Tree {
    type Config = TreeConfig;

    const NAME: &'static str = "tree";
    const TITLE: &'static str = "a random homogeneous map";
    const REFERENCE: &'static str = "none";
    const FORMULA: &'static str = "T";
    const RANK: &'static str = "full";
    const PARAMETERS: &'static str = "all";
    const KEYS: &'static [&'static str] = &["tree"];
    const SITES: &'static [SiteKind] = &[SiteKind::Linear];
    const VARIANTS: &'static [Variant] = variants!(0 1 2 3 4 5 6 7 8 9 10 11);

    fn new(site: &Site, config: &TreeConfig, init: &mut Init) -> Result<Self, AdapterError> {
        let tree = config.tree;
        let mut leaves = Vec::new();
        let mut grow = |shape: [usize; 2]| {
            let leaf = init.normal(shape, 0.5);
            leaves.push(Param::from_tensor(leaf.clone()));
            leaf
        };
        build(&mut Choices(tree + 1), degree(tree), [site.out(), site.cols()], &mut grow);
        Ok(Self { leaves, tree })
    }

    fn update(&self, site: &Site, _w0: &Tensor<2>) -> Tensor<2> {
        let mut leaves = self.leaves.iter().map(Param::val);
        let mut next = |_| leaves.next().expect("the map has as many leaves as when it was built");
        build(&mut Choices(self.tree + 1), degree(self.tree), [site.out(), site.cols()], &mut next)
    }

    fn degree(&self) -> Degree {
        Degree::Update(vec![("leaves", degree(self.tree))])
    }

    fn rank_bound(&self, site: &Site) -> usize {
        site.full_rank()
    }

    fn parameter_count(&self, _site: &Site) -> usize {
        self.leaves.iter().map(|leaf| leaf.lazy_shape().num_elements()).sum()
    }

    fn write(&self, _site: &Site) -> Tensors {
        Tensors::new()
    }

    fn read(site: &Site, _parts: &Parts) -> Result<Self, AdapterError> {
        Err(AdapterError::option(site, "it has no file"))
    }
}

fn degree(tree: u64) -> u32 {
    2 + (tree % 4) as u32
}

/// A stream of small numbers (Knuth's multiplier).
struct Choices(u64);

impl Choices {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A map of this degree and shape; `leaf` gives the next trained matrix.
fn build(
    choices: &mut Choices,
    degree: u32,
    shape: [usize; 2],
    leaf: &mut dyn FnMut([usize; 2]) -> Tensor<2>,
) -> Tensor<2> {
    let [rows, cols] = shape;
    if degree == 1 {
        return match choices.below(3) {
            // A sum is of the degree of its terms.
            0 => leaf(shape) + leaf(shape),
            1 => leaf([cols, rows]).transpose(),
            _ => leaf(shape),
        };
    }
    let left = 1 + choices.below(u64::from(degree) - 1) as u32;
    let right = degree - left;
    match choices.below(4) {
        0 => build(choices, left, [rows, 3], leaf).matmul(build(choices, right, [3, cols], leaf)),
        1 => build(choices, left, shape, leaf) * build(choices, right, shape, leaf),
        2 if rows % 4 == 0 && cols % 2 == 0 => {
            let inner = build(choices, left, [4, 2], leaf);
            let outer = build(choices, right, [rows / 4, cols / 2], leaf);
            algebra::kron(inner, outer.unsqueeze_dim(2)).reshape(shape)
        }
        _ => {
            let term = build(choices, left, shape, leaf) * build(choices, right, shape, leaf);
            term + build(choices, left, [rows, 2], leaf).matmul(build(
                choices,
                right,
                [2, cols],
                leaf,
            ))
        }
    }
}
