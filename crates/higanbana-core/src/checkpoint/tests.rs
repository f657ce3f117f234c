use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Gradients, Tensor, TensorData},
};

use super::checkpoint;
use crate::algebra::testing::sample;

/// Two layers with something nonlinear between them, the second frozen.
#[derive(Module, Debug)]
struct Part {
    a: Param<Tensor<2>>,
    b: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    unused: Param<Tensor<1>>,
}

impl Part {
    fn new(seed: u64, device: &Device) -> Self {
        let param = |shape, seed| Param::from_tensor(on(shape, seed, device));
        Self {
            a: param([5, 7], seed),
            b: param([7, 5], seed + 1).set_require_grad(false),
            bias: Param::from_tensor(Tensor::full([5], 0.3, device)),
            unused: Param::from_tensor(Tensor::zeros([2], device)),
        }
    }

    fn forward(&self, x: Tensor<2>, c: Tensor<1>) -> Tensor<2> {
        let inner = x.clone().matmul(self.a.val()).tanh().matmul(self.b.val());
        x + (inner + self.bias.val().unsqueeze()) * c.exp().unsqueeze()
    }
}

fn on(shape: [usize; 2], seed: u64, device: &Device) -> Tensor<2> {
    Tensor::from_data(sample(shape, seed).into_data(), device)
}

struct Collect<'a>(&'a Gradients, Vec<Option<TensorData>>);

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.1.push(param.val().grad(self.0).map(Tensor::into_data));
    }
}

/// The result of two parts that share a condition, and the gradients of inputs and parameters.
fn run(device: &Device, recompute: bool, tracked: [bool; 2]) -> Vec<Option<TensorData>> {
    let parts = [Part::new(1, device), Part::new(11, device)];
    let x = on([4, 5], 21, device).set_require_grad(tracked[0]);
    let c = on([1, 5], 22, device).flatten::<1>(0, 1).set_require_grad(tracked[1]);
    let mut y = x.clone();
    for part in &parts {
        y = match recompute {
            true => checkpoint(part, y, c.clone(), Part::forward),
            false => part.forward(y, c.clone()),
        };
    }
    let value = y.to_data();
    let gradients = (y * on([4, 5], 23, device)).sum().backward();
    let mut found = Collect(&gradients, Vec::new());
    parts[0].visit(&mut found);
    parts[1].visit(&mut found);
    let inputs =
        [x.grad(&gradients).map(Tensor::into_data), c.grad(&gradients).map(Tensor::into_data)];
    [vec![Some(value)], inputs.into(), found.1].concat()
}

#[test]
fn values_and_gradients_are_the_same_to_the_bit() {
    let plain = Device::flex().autodiff();
    let balanced = Device::flex().autodiff().gradient_checkpointing();
    for device in [plain, balanced] {
        for tracked in [[true, true], [false, true], [true, false], [false, false]] {
            let expected = run(&device, false, tracked);
            let mut found = run(&device, true, tracked);
            // What nothing depends on has no gradient there, and zeros here.
            for unused in [6, 10] {
                assert_eq!(found[unused].take(), Some(TensorData::zeros::<f32, _>([2])));
            }
            assert_eq!(found, expected, "{tracked:?}");
            assert!(expected[3].is_some() && expected[4].is_none());
        }
    }
}

#[test]
fn without_a_graph_it_is_the_function() {
    let device = Device::flex();
    let part = Part::new(1, &device);
    let (x, c) = (on([4, 5], 2, &device), on([1, 5], 3, &device).flatten::<1>(0, 1));
    let expected = part.forward(x.clone(), c.clone()).into_data();
    assert_eq!(checkpoint(&part, x, c, Part::forward).into_data(), expected);
}
