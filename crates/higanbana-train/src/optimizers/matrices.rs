//! An optimizer for matrices, on tensors of every rank.

use burn::{
    optim::{LearningRate, Optimizer, RecordState},
    tensor::{Device, Tensor},
};

/// Shows an optimizer matrices only: a tensor of three dimensions or more as `[out, rest]`, and vectors
/// go to another one.
#[derive(Debug, Clone)]
pub(super) struct Matrices<O, V> {
    pub matrix: O,
    pub vector: V,
}

/// State of one or the other.
#[derive(RecordState, Clone)]
pub(super) struct MatricesState<M: RecordState + Clone, V: RecordState + Clone> {
    matrix: Option<M>,
    vector: Option<V>,
}

impl<O: Optimizer, V: Optimizer> Optimizer for Matrices<O, V> {
    type State<const D: usize> = MatricesState<O::State<2>, V::State<1>>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let shape = tensor.shape();
        let (rows, size) = (tensor.dims()[0], shape.num_elements());
        let (matrix, vector) = state.map_or((None, None), |state| (state.matrix, state.vector));
        if D == 1 {
            let [tensor, gradient] = [tensor, gradient].map(|t| t.reshape([size]));
            let (tensor, vector) = self.vector.step(rate, tensor, gradient, vector);
            return (tensor.reshape(shape), Some(MatricesState { matrix, vector }));
        }
        let [tensor, gradient] = [tensor, gradient].map(|t| t.reshape([rows, size / rows]));
        let (tensor, matrix) = self.matrix.step(rate, tensor, gradient, matrix);
        (tensor.reshape(shape), Some(MatricesState { matrix, vector }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        MatricesState {
            matrix: state.matrix.map(|state| O::to_device::<2>(state, device)),
            vector: state.vector.map(|state| V::to_device::<1>(state, device)),
        }
    }
}
