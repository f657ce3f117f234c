//! The parameters of a part: which are trained, and what they are given.

use std::collections::BTreeMap;

use burn::{
    backend::autodiff::NodeId,
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{Gradients, Tensor},
};

use super::graph::{Gradient, Port, lower, node};

/// The trained parameters of a module, with the numbers of their nodes.
pub type Nodes = BTreeMap<ParamId, NodeId>;

/// The trained parameters of a module.
#[derive(Default)]
pub struct Leaves {
    /// All of them.
    pub nodes: Nodes,
    /// One of them, on the graph.
    pub one: Option<Tensor<1>>,
}

impl Leaves {
    /// Those of this module.
    pub fn of(module: &impl Module) -> Self {
        let mut leaves = Self::default();
        module.visit(&mut leaves);
        leaves
    }
}

impl ModuleVisitor for Leaves {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.base();
        if tensor.is_require_grad() {
            self.nodes.insert(param.id, node(&tensor));
            // A backend's tensor has no rank in its type.
            self.one = Some(Tensor::from_dispatch(tensor.into_dispatch()));
        }
    }
}

/// Takes parameters off their graph, and makes new leaves of those that are named.
pub struct Tracked<'a>(Option<&'a Nodes>);

impl<'a> Tracked<'a> {
    /// Of none.
    pub fn none() -> Self {
        Self(None)
    }

    /// Of these.
    pub fn these(nodes: &'a Nodes) -> Self {
        Self(Some(nodes))
    }
}

impl ModuleMapper for Tracked<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let tracked = self.0.is_some_and(|nodes| nodes.contains_key(&param.id));
        param.map(|tensor| tensor.set_require_grad(false).set_require_grad(tracked))
    }
}

/// Gathers what parameters are given.
pub struct Found<'a> {
    nodes: &'a Nodes,
    gradients: &'a Gradients,
    parameters: Vec<(NodeId, Port)>,
}

impl Found<'_> {
    /// The gradients of a module's parameters and of two inputs.
    pub fn of<const X: usize, const C: usize>(
        module: &impl Module,
        nodes: &Nodes,
        (x, c): (&Tensor<X>, &Tensor<C>),
        gradients: &Gradients,
    ) -> Gradient {
        let mut found = Found { nodes, gradients, parameters: Vec::new() };
        module.visit(&mut found);
        Gradient { inputs: [of(x, gradients), of(c, gradients)], parameters: found.parameters }
    }
}

impl ModuleVisitor for Found<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(node) = self.nodes.get(&param.id) {
            self.parameters.push((*node, of(&param.base(), self.gradients)));
        }
    }
}

/// The gradient of a leaf: zeros if the result does not depend on it.
fn of<const D: usize>(leaf: &Tensor<D>, gradients: &Gradients) -> Port {
    lower(leaf.grad(gradients).unwrap_or_else(|| leaf.clone().inner().zeros_like()))
}
