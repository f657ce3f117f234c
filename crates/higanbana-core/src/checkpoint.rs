//! Gradient checkpointing: a part of a model of which the graph keeps the inputs alone.
//!
//! In the forward pass $y = f_\theta(x, c)$ is computed without a graph. When the gradient $\bar y$ of
//! the result is there, the part runs once more, now with a graph of its own, and
//!
//! $$\bar x = J_x^\top \bar y, \quad \bar c = J_c^\top \bar y, \quad \bar\theta = J_\theta^\top \bar y$$
//!
//! go on into the outer graph (arXiv:1604.06174). The price is one more forward pass; what lies between
//! the inputs of two parts is in memory for one part at a time. Burn's own checkpointing recomputes
//! single operations that cost little: the results of products and convolutions, nearly all of what a
//! transformer keeps, stay.
//!
//! An operation of Burn's graph has a fixed number of parents, a part any number of parameters. These
//! are leaves: their gradients are handed in under their nodes' numbers, and one of them stands for all
//! as a parent.

mod graph;
mod parameters;

use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};

use graph::{Part, join, lift};
use parameters::{Found, Leaves, Tracked};

/// $f(module, x, c)$, computed again in the backward pass if there is one.
///
/// `f` must be a function of its arguments: what it draws at random has to follow from the module's
/// state, as what [adapters leave out](crate::training) does.
pub fn checkpoint<M, const X: usize, const C: usize>(
    module: &M,
    x: Tensor<X>,
    c: Tensor<C>,
    f: fn(&M, Tensor<X>, Tensor<C>) -> Tensor<X>,
) -> Tensor<X>
where
    M: Module + Sync + 'static,
{
    if !x.is_autodiff() {
        return f(module, x, c);
    }
    // What is kept is on no graph, and so keeps no node of this one alive.
    let leaves = Leaves::of(module);
    let kept = module.clone().map(&mut Tracked::none());
    let inputs = (x.clone().set_require_grad(false), c.clone().set_require_grad(false));
    let y = f(&kept, inputs.0.clone(), inputs.1.clone());

    let nodes = leaves.nodes.clone();
    let again = move |gradient| {
        let module = kept.clone().map(&mut Tracked::these(&nodes));
        let (x, c) = (inputs.0.clone().require_grad(), inputs.1.clone().require_grad());
        let y = f(&module, x.clone(), c.clone());
        let gradient = lift(&x.clone().inner(), gradient);
        let gradients = (y * gradient).sum().backward();
        Found::of(&module, &nodes, (&x, &c), &gradients)
    };
    join(y, &x, &c, leaves.one.as_ref(), Part(Arc::new(again)))
}

#[cfg(all(test, feature = "flex"))]
mod tests;
