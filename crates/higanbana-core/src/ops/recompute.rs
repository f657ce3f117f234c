//! How an operation with a backward pass of its own enters Burn's graph.

use std::fmt::Debug;

use burn::backend::{
    Autodiff, Backend,
    autodiff::{
        NodeId,
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::FloatTensor,
};

/// An operation on `N` float tensors of a backend whose backward pass starts from its inputs.
pub(super) trait Recompute<B: Backend, const N: usize>:
    Debug + Send + Sized + 'static
{
    /// The result.
    fn forward(&self, inputs: [FloatTensor<B>; N]) -> FloatTensor<B>;

    /// Gradients of the inputs that want one, from that of the result.
    fn backward(
        &self,
        inputs: [FloatTensor<B>; N],
        gradient: FloatTensor<B>,
        wanted: [bool; N],
    ) -> [Option<FloatTensor<B>>; N];

    /// Runs the operation and, if any input is tracked, records it with its inputs.
    fn record<C: CheckpointStrategy>(
        self,
        inputs: [FloatTensor<Autodiff<B, C>>; N],
    ) -> FloatTensor<Autodiff<B, C>> {
        let nodes = inputs.each_ref().map(|input| input.node());
        let output = self.forward(inputs.each_ref().map(|input| input.primitive().clone()));
        match Step(self).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut step) => {
                let kept = inputs.each_ref().map(|input| step.checkpoint(input));
                step.finish(kept, output)
            }
            OpsKind::UnTracked(step) => step.finish(output),
        }
    }
}

/// An operation as a node of the graph.
#[derive(Debug)]
struct Step<O>(O);

impl<B: Backend, O: Recompute<B, N>, const N: usize> Backward<B, N> for Step<O> {
    type State = [NodeId; N];

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let inputs = ops.state.map(|id| checkpointer.retrieve_node_output(id));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let gradients = self.0.backward(inputs, gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}
