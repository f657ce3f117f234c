//! Exponents of any adapter, found from its gradients.
//!
//! Differentiating $T(s^{e_1} A_1, \dots, s^{e_n} A_n) = s T(A_1, \dots, A_n)$ at $s = 1$ gives Euler's identity
//! $$\sum_i e_i \frac{\partial T}{\partial A_i} A_i = T,$$
//! and where it holds everywhere so does the first. It is linear in the exponents: tested with random
//! cotangents at random points, it either has a solution or shows that there is none. This is what the
//! theorem needs and no more, so that it also finds the exponents of maps that mix degrees, such as
//! (½, ½, 1) for $B A + D$.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{DType, Device, Gradients, Tensor, TensorData},
};
use higanbana_core::{DynAdapter, Init, Site, SiteKind, spectrum};

/// Random points at which the identity is tested.
const POINTS: u64 = 3;
/// Largest residual, relative to the update, at which it holds; rounding leaves some 1e-14.
const TOLERANCE: f64 = 1e-9;

/// No exponents satisfy the identity.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EulerError {
    /// The best ones leave a residual.
    #[error(
        "no exponents scale the update: the best ones leave {residual:.1e} of it, so that no initial \
         values and learning rates replace gamma"
    )]
    NotHomogeneous {
        /// $\lVert \sum_i e_i \partial_i T A_i - T \rVert / \lVert T \rVert$ of the best exponents.
        residual: f64,
    },
    /// Decomposing the system failed.
    #[error("the system of exponents could not be solved: {0}")]
    Unsolved(String),
}

/// The exponents $e_i$ of each trained tensor of an adapter, by name; of all that satisfy the identity
/// the ones of least norm. `w0` is the frozen weight `[out, in·K]`, in `f64` on a device without
/// autodiff.
///
/// # Errors
/// When the update is homogeneous in no exponents.
pub fn exponents(
    adapter: &DynAdapter,
    site: &Site,
    w0: &Tensor<2>,
    seed: u64,
) -> Result<Vec<(String, f64)>, EulerError> {
    let names: Vec<String> =
        trained(&adapter.clone().train()).into_iter().map(|t| t.name).collect();
    let device = w0.device().autodiff();
    let w0 = Tensor::<2>::from_data(w0.to_data(), (&device, DType::F64));
    let (mut rows, mut right) = (Vec::new(), Vec::new());
    for point in 0..POINTS {
        let adapter = at_random(adapter.clone(), &device, seed ^ point).train();
        let mut init = stream("cotangents", &device, seed ^ point);
        for _ in 0..names.len() + 2 {
            // Each backward pass consumes its graph.
            let update = adapter.update_at(site, &w0, 1.0);
            let cotangent = init.normal::<2>(update.dims(), 1.0);
            let product = (update.clone() * cotangent).sum();
            right.push(number(&product));
            let gradients = product.backward();
            rows.extend(along(&adapter, &gradients));
        }
    }
    let solution = least_squares(&rows, &right, names.len(), &w0.device())
        .map_err(|error| EulerError::Unsolved(error.to_string()))?;
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let residual: Vec<f64> = rows
        .chunks(names.len())
        .zip(&right)
        .map(|(row, right)| row.iter().zip(&solution).map(|(a, e)| a * e).sum::<f64>() - right)
        .collect();
    let residual = norm(&residual) / norm(&right);
    if residual.is_nan() || residual > TOLERANCE {
        return Err(EulerError::NotHomogeneous { residual });
    }
    // Rounding leaves 0.49999999999999994 where ½ is meant.
    let clean = |e: f64| (e * 5040.0).round() / 5040.0;
    let exact = |e: f64| if (clean(e) - e).abs() < 1e-9 { clean(e) } else { e };
    Ok(names.into_iter().zip(solution.into_iter().map(exact)).collect())
}

/// The adapter with random numbers in place of every tensor, frozen ones too, in `f64`.
pub(crate) fn at_random(adapter: DynAdapter, device: &Device, seed: u64) -> DynAdapter {
    adapter.map(&mut Randomise { init: &mut stream("point", device, seed), device })
}

/// The solution of least norm of $A e = b$, `rows` being $A$ by rows.
pub(crate) fn least_squares(
    rows: &[f64],
    right: &[f64],
    n: usize,
    device: &Device,
) -> Result<Vec<f64>, spectrum::SpectrumError> {
    let data = TensorData::new(rows.to_vec(), [right.len(), n]);
    let svd = spectrum::svd(&Tensor::from_data(data, (&device.clone().inner(), DType::F64)))?;
    let k = svd.s.len();
    let mut solution = vec![0.0; n];
    for (j, s) in svd.s.iter().enumerate().filter(|(_, s)| **s > 1e-10 * svd.s[0]) {
        let weight: f64 = right.iter().enumerate().map(|(i, b)| svd.u[i * k + j] * b).sum();
        solution.iter_mut().enumerate().for_each(|(i, e)| *e += weight / s * svd.vt[j * n + i]);
    }
    Ok(solution)
}

fn stream(name: &str, device: &Device, seed: u64) -> Init {
    let site = Site::new(format!("euler.{name}"), SiteKind::Linear, [1, 1]);
    Init::new(&site, Tensor::zeros([1, 1], (device, DType::F64)), seed)
}

fn number<const D: usize>(tensor: &Tensor<D>) -> f64 {
    tensor.to_data().iter::<f64>().sum()
}

/// Replaces every tensor by random numbers, in `f64`.
struct Randomise<'a> {
    init: &'a mut Init,
    device: &'a Device,
}

impl ModuleMapper for Randomise<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let size = param.lazy_shape().num_elements();
        let numbers = self.init.normal::<1>([size], 1.0).to_data();
        param.map(|tensor| {
            let numbers: Vec<f64> = numbers.iter::<f64>().collect();
            let data = TensorData::new(numbers, tensor.shape());
            Tensor::from_data(data, (self.device, DType::F64))
        })
    }
}

struct Trained {
    name: String,
    along: f64,
}

/// Names of the trained tensors.
fn trained(adapter: &DynAdapter) -> Vec<Trained> {
    let mut visit = Visit { gradients: None, path: Vec::new(), found: Vec::new() };
    adapter.visit(&mut visit);
    visit.found
}

/// $\langle \partial L / \partial A_i, A_i \rangle$ of every trained tensor.
fn along(adapter: &DynAdapter, gradients: &Gradients) -> Vec<f64> {
    let mut visit = Visit { gradients: Some(gradients), path: Vec::new(), found: Vec::new() };
    adapter.visit(&mut visit);
    visit.found.into_iter().map(|trained| trained.along).collect()
}

struct Visit<'a> {
    gradients: Option<&'a Gradients>,
    path: Vec<String>,
    found: Vec<Trained>,
}

impl ModuleVisitor for Visit<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if !tensor.is_require_grad() {
            return;
        }
        let index = |part: &&String| part.parse::<usize>().is_err();
        let name = self.path.iter().rfind(index).cloned().unwrap_or_default();
        let gradient = self.gradients.and_then(|gradients| tensor.grad(gradients));
        let along = gradient.map_or(0.0, |gradient| number(&(gradient * tensor.clone().inner())));
        self.found.push(Trained { name, along });
    }
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}
