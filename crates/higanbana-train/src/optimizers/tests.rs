//! The optimizers of this crate against numbers computed by their published formulas.

mod states;

use burn::{
    module::{Module, Param},
    optim::GradientsParams,
    tensor::{DType, Device, Tensor, TensorData},
};

use crate::{Clip, Group, ModelOptimizer, Settings, optimizer};

/// A vector and a matrix to train.
#[derive(Module, Debug)]
struct Pair {
    vector: Param<Tensor<1>>,
    matrix: Param<Tensor<2>>,
}

/// The gradients of three steps.
const GRADIENTS: [[f64; 2]; 3] = [[0.5, -1.0], [0.25, 0.5], [-1.0, 2.0]];

fn pair() -> Pair {
    let device = Device::default().autodiff();
    let vector = TensorData::from([1.0f64, -2.0]);
    Pair {
        vector: Param::from_tensor(Tensor::from_data(vector, (&device, DType::F64))),
        matrix: Param::from_tensor(Tensor::zeros([2, 2], (&device, DType::F64))),
    }
}

fn gradients(pair: &Pair, vector: [f64; 2], matrix: [[f64; 2]; 2]) -> GradientsParams {
    let device = Device::default();
    let mut gradients = GradientsParams::new();
    let tensor = Tensor::<1>::from_data(TensorData::from(vector), (&device, DType::F64));
    gradients.register(pair.vector.id, tensor);
    let tensor = Tensor::<2>::from_data(TensorData::from(matrix), (&device, DType::F64));
    gradients.register(pair.matrix.id, tensor);
    gradients
}

fn vector(pair: &Pair) -> Vec<f64> {
    pair.vector.val().to_data().iter().collect()
}

fn matrix(pair: &Pair) -> Vec<f64> {
    pair.matrix.val().to_data().iter().collect()
}

/// The vector after the three steps; the matrix has gradients of zero.
fn trained(name: &str, rate: f64, change: impl Fn(Settings) -> Settings) -> Vec<f64> {
    let mut pair = pair();
    let rule = optimizer(name).unwrap();
    let group = Group { rate, settings: change(rule.settings()) };
    let mut optimizer = ModelOptimizer::new(&pair, rule, &[group], |_| 0);
    for gradient in GRADIENTS {
        let gradients = gradients(&pair, gradient, [[0.0; 2]; 2]);
        pair = optimizer.step(1.0, pair, gradients);
    }
    vector(&pair)
}

fn assert_near(found: &[f64], expected: &[f64]) {
    let near = found.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-12);
    assert!(near && found.len() == expected.len(), "{found:?}, not {expected:?}");
}

#[test]
fn nadam_as_in_pytorch() {
    let found = trained("nadam", 0.1, |settings| settings.with("weight_decay", 0.1));
    assert_near(&found, &[0.9089490992609613, -1.9750101829959308]);
}

#[test]
fn adadelta_as_in_pytorch() {
    let found = trained("adadelta", 1.0, |settings| settings);
    assert_near(&found, &[0.9990594141678937, -2.00322963783204]);
}

#[test]
fn prodigy_as_in_the_paper() {
    let found = trained("prodigy", 1.0, |settings| settings.with("d0", 1e-3));
    assert_near(&found, &[0.9938978593050074, -1.9979697996700267]);
}

#[test]
fn sign_sgd_by_hand() {
    let found = trained("sign_sgd", 0.5, |settings| settings.with("weight_decay", 1.0));
    // 1, 0.5 - 0.5, 0 - 0.5, -0.25 + 0.5 and -2, -1 + 0.5, -0.25 - 0.5, -0.375 - 0.5
    assert_near(&found, &[0.25, -0.875]);
}

#[test]
fn normalised_sgd_divides_by_the_norm_of_all_gradients() {
    let mut pair = pair();
    let rule = optimizer("normalized_sgd").unwrap();
    let group = Group { rate: 1.0, settings: rule.settings().with("eps", 0.0) };
    let mut optimizer = ModelOptimizer::new(&pair, rule, &[group], |_| 0);
    let gradients = gradients(&pair, [3.0, 0.0], [[0.0, 4.0], [0.0, 0.0]]);
    pair = optimizer.step(1.0, pair, gradients);
    assert_near(&vector(&pair), &[1.0 - 0.6, -2.0]);
    assert_near(&matrix(&pair), &[0.0, -0.8, 0.0, 0.0]);
    assert_eq!(optimizer.norms(), [5.0]);
}

#[test]
fn clipping_is_over_all_tensors_or_over_groups() {
    let rule = optimizer("sgd").unwrap();
    let step = |clip: Option<Clip>| {
        let pair = pair();
        let group = Group { rate: 1.0, settings: rule.settings() };
        let groups = [group.clone(), group];
        let choose = |path: &str| usize::from(path == "matrix");
        let mut optimizer = ModelOptimizer::new(&pair, rule, &groups, choose);
        if let Some(clip) = clip {
            optimizer = optimizer.clipped(clip);
        }
        let gradients = gradients(&pair, [3.0, 0.0], [[4.0, 0.0], [0.0, 0.0]]);
        let pair = optimizer.step(1.0, pair, gradients);
        [1.0 - vector(&pair)[0], -matrix(&pair)[0]]
    };
    assert_near(&step(None), &[3.0, 4.0]);
    assert_near(&step(Some(Clip::Whole(5.5))), &[3.0, 4.0]);
    assert_near(&step(Some(Clip::Whole(2.5))), &[1.5, 2.0]);
    assert_near(&step(Some(Clip::Groups(vec![1.0, 8.0]))), &[1.0, 4.0]);
}

#[test]
fn groups_have_rates_of_their_own() {
    let mut pair = pair();
    let rule = optimizer("sgd").unwrap();
    let groups = [0.5, 0.25].map(|rate| Group { rate, settings: rule.settings() });
    let choose = |path: &str| usize::from(path == "matrix");
    let mut optimizer = ModelOptimizer::new(&pair, rule, &groups, choose);
    let gradients = gradients(&pair, [1.0, 0.0], [[1.0, 0.0], [0.0, 0.0]]);
    pair = optimizer.step(2.0, pair, gradients);
    assert_near(&vector(&pair), &[0.0, -2.0]);
    assert_near(&matrix(&pair), &[-0.5, 0.0, 0.0, 0.0]);
}

#[test]
fn shampoo_whitens_the_first_gradient() {
    let mut pair = pair();
    let rule = optimizer("shampoo").unwrap();
    let settings = rule.settings().with("ridge", 0.0);
    let mut optimizer = ModelOptimizer::new(&pair, rule, &[Group { rate: 1.0, settings }], |_| 0);
    // (G Gᵀ)^(-1/4) G (Gᵀ G)^(-1/4) is the orthogonal factor of G.
    let gradients = gradients(&pair, [0.0, 0.0], [[0.0, -3.0], [0.5, 0.0]]);
    pair = optimizer.step(1.0, pair, gradients);
    assert_near(&matrix(&pair), &[0.0, 1.0, -1.0, 0.0]);
}

#[test]
fn vectors_under_muon_and_shampoo_take_adamw() {
    let adamw = trained("adamw", 0.1, |settings| settings.with("weight_decay", 0.3));
    for name in ["muon", "shampoo"] {
        let found = trained(name, 0.1, |settings| settings.with("weight_decay", 0.3));
        assert_near(&found, &adamw);
    }
}
