//! Families of updates that adapters are to come near to.

use burn::tensor::{Device, Tensor, TensorData};
use higanbana_core::{
    Init, algebra,
    spectrum::{self, frobenius},
};

use crate::{experiment::Failure, subject::stream};

/// A family of updates.
pub struct Family {
    /// Name.
    pub name: &'static str,
    /// What it is, in words.
    pub title: &'static str,
    draw: fn(&mut Draw) -> Result<Tensor<2>, Failure>,
}

/// What a target is drawn from.
struct Draw<'a> {
    n: usize,
    w0: &'a Tensor<2>,
    seed: u64,
    init: Init,
}

/// Size of a target beside the base weight: $\lVert T \rVert_F / \lVert W_0 \rVert_F$.
pub const SIZE: f64 = 0.25;

/// All families.
pub const FAMILIES: &[Family] = &[
    Family { name: "low-rank", title: "of rank 4", draw: |d| Ok(d.product(4)) },
    Family {
        name: "power-law",
        title: "with singular values 1/k",
        draw: |d| {
            let mut svd = spectrum::svd(&d.gaussian())?;
            svd.s.iter_mut().enumerate().for_each(|(k, s)| *s = 1.0 / (k as f64 + 1.0));
            Ok(svd.matrix(&d.w0.device(), d.w0.dtype()))
        },
    },
    Family {
        name: "kronecker",
        title: "that is a Kronecker product of two whole factors",
        draw: |d| {
            let (small, large) = algebra::factorization(d.n, -1);
            let [a, b] = [d.init.normal([small, small], 1.0), d.init.normal([large, large], 1.0)];
            Ok(algebra::kron(a, b.unsqueeze_dim(2)).reshape([d.n, d.n]))
        },
    },
    Family {
        name: "hadamard",
        title: "that is an entrywise product of two matrices of rank 2",
        draw: |d| Ok(d.product(2) * d.product(2)),
    },
    Family {
        name: "sparse",
        title: "with one entry in twenty",
        draw: |d| {
            let chosen = d.init.normal([d.n, d.n], 1.0).greater_elem(1.645);
            Ok(d.gaussian().mask_fill(chosen.bool_not(), 0.0))
        },
    },
    Family {
        name: "banded",
        title: "with entries within two of the diagonal",
        draw: |d| Ok(d.gaussian() * d.by_offset(|offset| f64::from(offset.abs() <= 2))),
    },
    Family {
        name: "toeplitz",
        title: "constant along diagonals",
        draw: |d| {
            let entries = d.init.normal([2 * d.n], 1.0).to_data().iter::<f64>().collect::<Vec<_>>();
            let n = d.n as i64;
            Ok(d.by_offset(|offset| entries[(offset + n) as usize]))
        },
    },
    Family {
        name: "rotation",
        title: "that a rotation of the rows adds to the base weight",
        draw: |d| {
            let generator = d.init.normal([1, d.n, d.n], 0.1 / (d.n as f64).sqrt());
            let turn = algebra::cayley_deviation(algebra::skew(generator)).squeeze_dim::<2>(0);
            Ok(turn.matmul(d.w0.clone()))
        },
    },
    Family {
        name: "gaussian",
        title: "with independent normal entries",
        draw: |d| Ok(d.gaussian()),
    },
    Family {
        name: "trained",
        title: "that further training added to a layer of a network",
        draw: |d| super::trained::difference(d.n, d.seed, &d.w0.device()),
    },
];

impl Draw<'_> {
    fn gaussian(&mut self) -> Tensor<2> {
        self.init.normal([self.n, self.n], 1.0)
    }

    fn product(&mut self, rank: usize) -> Tensor<2> {
        let left = self.init.normal([self.n, rank], 1.0);
        left.matmul(self.init.normal([rank, self.n], 1.0))
    }

    /// The matrix of a function of `column - row`.
    fn by_offset(&self, f: impl Fn(i64) -> f64) -> Tensor<2> {
        let n = self.n as i64;
        let entries: Vec<f64> = (0..n).flat_map(|i| (0..n).map(move |j| j - i)).map(f).collect();
        let data = TensorData::new(entries, [self.n, self.n]);
        Tensor::from_data(data, (&self.w0.device(), self.w0.dtype()))
    }
}

/// The family of this name.
///
/// # Errors
/// The known ones when there is none.
pub fn family(name: &str) -> Result<&'static Family, Failure> {
    let known = FAMILIES.iter().map(|family| family.name).collect::<Vec<_>>().join(", ");
    let found = FAMILIES.iter().find(|family| family.name == name);
    Ok(found.ok_or_else(|| format!("unknown family `{name}`: there are {known}"))?)
}

impl Family {
    /// A target of the family for the base weight `w0` `[n, n]`, [`SIZE`] times its norm.
    ///
    /// # Errors
    /// When it cannot be drawn at this size.
    pub fn target(&self, w0: &Tensor<2>, device: &Device, seed: u64) -> Result<Tensor<2>, Failure> {
        let n = w0.dims()[0];
        let init = stream(&format!("target {}", self.name), device, seed);
        let target = (self.draw)(&mut Draw { n, w0, seed, init })?;
        let scale = SIZE * frobenius(w0) / frobenius(&target);
        Ok(target.mul_scalar(scale))
    }
}
