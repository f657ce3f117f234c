//! Random histories of gradients and parameters, and what is stepped along them.

use burn::{
    module::{Module, ModuleMapper, Param},
    optim::GradientsParams,
    tensor::{DType, Device, Tensor, TensorData},
};
use higanbana_core::{Init, Site, SiteKind, device::cpu};

/// Steps of a history, by what its gradients and parameters are multiplied.
const MAGNITUDES: [[f64; 2]; 6] =
    [[0.03, 1.0], [1.0, 0.06], [4.0, 1.0], [0.25, 0.06], [1.0, 2.0], [0.1, 0.5]];
/// Histories.
const TIMES: usize = 4;
/// Gradients and parameters of a vector and a matrix, step by step, several times from the start.
pub(super) struct History(pub Vec<(Numbers, Numbers)>);

/// Those of the vector and of the matrix.
type Numbers = [Vec<f64>; 2];

impl History {
    /// Steps of each.
    pub const LENGTH: usize = MAGNITUDES.len();

    pub fn random() -> Self {
        let like = Tensor::zeros([1, 1], (&cpu(), DType::F64));
        let mut init = Init::new(&Site::new("outside", SiteKind::Linear, [1, 1]), like, 0);
        let mut numbers = |by: f64| {
            let (vector, matrix) = (init.normal::<1>([3], by), init.normal::<2>([2, 3], by));
            [values(&vector), values(&matrix)]
        };
        let steps = MAGNITUDES.iter().cycle().take(TIMES * Self::LENGTH);
        Self(steps.map(|[gradient, size]| (numbers(*gradient), numbers(*size))).collect())
    }

    /// The same with parameters of zero at first.
    pub fn at_zero(&self) -> Self {
        let mut steps = self.0.clone();
        let starts = steps.iter_mut().step_by(Self::LENGTH);
        starts.flat_map(|(_, start)| start.iter_mut()).flatten().for_each(|x| *x = 0.0);
        Self(steps)
    }

    /// The same with the gradients of every other step halved.
    pub fn clipped(&self) -> Self {
        let mut steps = self.0.clone();
        let halved = steps.iter_mut().step_by(2).flat_map(|(gradient, _)| gradient.iter_mut());
        halved.flatten().for_each(|g| *g *= 0.5);
        Self(steps)
    }
}

/// A vector and a matrix.
#[derive(Module, Debug)]
pub(super) struct Probe {
    vector: Param<Tensor<1>>,
    matrix: Param<Tensor<2>>,
}

impl Probe {
    pub fn new() -> Self {
        let options = (&cpu().autodiff(), DType::F64);
        Self {
            vector: Param::from_tensor(Tensor::zeros([3], options)),
            matrix: Param::from_tensor(Tensor::zeros([2, 3], options)),
        }
    }

    pub fn gradients(&self, [vector, matrix]: &[Vec<f64>; 2]) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        gradients.register(self.vector.id, tensor::<1>(vector, [3], &cpu()));
        gradients.register(self.matrix.id, tensor::<2>(matrix, [2, 3], &cpu()));
        gradients
    }

    pub fn values(&self) -> [Vec<f64>; 2] {
        [values(&self.vector.val()), values(&self.matrix.val())]
    }
}

/// Puts numbers into the parameters.
pub(super) struct Put<'a>(pub std::slice::Iter<'a, Vec<f64>>);

impl ModuleMapper for Put<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.0.next() else { return param };
        param.map(|old| {
            tensor::<D>(values, old.shape().dims::<D>(), &cpu()).autodiff().require_grad()
        })
    }
}

pub(super) fn tensor<const D: usize>(
    values: &[f64],
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, DType::F64))
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

pub(super) fn scaled(values: &[f64], by: f64) -> Vec<f64> {
    values.iter().map(|x| x * by).collect()
}

pub(super) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The largest relative difference of a tensor's step.
pub(super) fn difference(x: &[Vec<f64>], y: &[Vec<f64>]) -> f64 {
    let apart = |(x, y): (&Vec<f64>, &Vec<f64>)| {
        let apart = norm(&x.iter().zip(y).map(|(x, y)| x - y).collect::<Vec<_>>());
        if apart == 0.0 { 0.0 } else { apart / norm(x) }
    };
    x.iter().zip(y).map(apart).fold(0.0, larger)
}

/// The larger number, and what is none before all.
pub(super) fn larger(x: f64, y: f64) -> f64 {
    if y > x || y.is_nan() { y } else { x }
}
