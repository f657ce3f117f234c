//! A part as a node of Burn's graph.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex},
};

use burn::{
    backend::{
        Autodiff, Backend, Dispatch,
        autodiff::{
            NodeId,
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

/// A backend's own tensor on its way past `Dispatch`, between code that knows the backend and code
/// that does not.
#[derive(Clone, Default)]
pub struct Port(Arc<Mutex<Option<Box<dyn Any + Send>>>>);

impl Port {
    fn put(&self, value: impl Any + Send) {
        *self.0.lock().expect("no holder panics") = Some(Box::new(value));
    }

    fn take<T: Any>(&self) -> T {
        let value = self.0.lock().expect("no holder panics").take();
        *value.and_then(|value| value.downcast().ok()).expect("put by the same backend")
    }
}

/// Gradients that a part has found.
pub struct Gradient {
    /// Of the two inputs.
    pub inputs: [Port; 2],
    /// Of parameters, under the number of their node.
    pub parameters: Vec<(NodeId, Port)>,
}

/// Runs a part again and, given the gradient of its result, finds those of all that went into it.
#[derive(Clone)]
pub struct Part(pub Arc<dyn Fn(Port) -> Gradient + Send + Sync>);

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Part")
    }
}

/// The ways between `Dispatch`, backends and their graphs.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))
)]
pub trait CheckpointOps: Backend {
    /// See [`join`].
    fn join(
        y: FloatTensor<Self>,
        _x: FloatTensor<Self>,
        _c: FloatTensor<Self>,
        _leaf: FloatTensor<Self>,
        _part: Part,
    ) -> FloatTensor<Self> {
        y
    }

    /// See [`node`].
    fn node(tensor: FloatTensor<Self>, _port: Port) -> FloatTensor<Self> {
        tensor
    }

    /// See [`lower`].
    fn lower(tensor: FloatTensor<Self>, port: Port) -> FloatTensor<Self> {
        port.put(tensor.clone());
        tensor
    }

    /// See [`lift`].
    fn lift(_like: FloatTensor<Self>, port: Port) -> FloatTensor<Self> {
        port.take()
    }
}

#[cfg(feature = "flex")]
impl CheckpointOps for burn::backend::Flex {}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
impl CheckpointOps for burn::backend::Cube {}

impl<B: CheckpointOps, C: CheckpointStrategy> CheckpointOps for Autodiff<B, C> {
    fn join(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        c: FloatTensor<Self>,
        leaf: FloatTensor<Self>,
        part: Part,
    ) -> FloatTensor<Self> {
        let parents = [x.node(), c.node(), leaf.node()];
        match Step.prepare::<C>(parents).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish(part, y.into_primitive()),
            OpsKind::UnTracked(step) => step.finish(y.into_primitive()),
        }
    }

    fn node(tensor: FloatTensor<Self>, port: Port) -> FloatTensor<Self> {
        port.put(tensor.id());
        tensor
    }
}

#[derive(Debug)]
struct Step;

impl<B: Backend> Backward<B, 3> for Step {
    type State = Part;

    fn backward(self, ops: Ops<Part, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let port = Port::default();
        port.put(grads.consume::<B>(&ops.node));
        let found = (ops.state.0)(port);
        for (parent, gradient) in ops.parents.iter().zip(found.inputs) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient.take());
            }
        }
        for (node, gradient) in found.parameters {
            grads.register::<B>(node, gradient.take());
        }
    }
}

/// The result of a part, tied to its inputs and to one of its parameters.
pub fn join<const X: usize, const C: usize>(
    y: Tensor<X>,
    x: &Tensor<X>,
    c: &Tensor<C>,
    leaf: Option<&Tensor<1>>,
    part: Part,
) -> Tensor<X> {
    let [x, c] = [x.clone().into_dispatch(), c.clone().into_dispatch()];
    let leaf = leaf.map_or_else(|| x.clone(), |leaf| leaf.clone().into_dispatch());
    Tensor::from_dispatch(<Dispatch as CheckpointOps>::join(y.into_dispatch(), x, c, leaf, part))
}

/// The number of a tensor's node.
pub fn node<const D: usize>(tensor: &Tensor<D>) -> NodeId {
    let port = Port::default();
    drop(<Dispatch as CheckpointOps>::node(tensor.clone().into_dispatch(), port.clone()));
    port.take()
}

/// A tensor out of reach of `Dispatch`.
pub fn lower<const D: usize>(tensor: Tensor<D>) -> Port {
    let port = Port::default();
    drop(<Dispatch as CheckpointOps>::lower(tensor.into_dispatch(), port.clone()));
    port
}

/// The way back, onto the backend of `like`.
pub fn lift<const D: usize>(like: &Tensor<D>, port: Port) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as CheckpointOps>::lift(like.clone().into_dispatch(), port))
}
