//! The gated GELU.

use burn::{backend::TensorMetadata, tensor::Shape};
use rayon::prelude::*;

use super::{
    Flexible,
    math::{normal, wide},
    numbers, tensor,
};

/// Rows for a thread at a time.
const ROWS: usize = 16;

pub fn forward(x: Flexible) -> Flexible {
    let x = x.to_contiguous();
    let mut shape = x.shape().to_vec();
    let axis = shape.len() - 1;
    let n = shape[axis] / 2;
    shape[axis] = n;
    let mut y = vec![0.0; shape.iter().product()];
    let rows = y.par_chunks_mut(ROWS * n).zip(numbers(&x).par_chunks(2 * ROWS * n));
    rows.for_each(|(y, x)| {
        wide!(|| {
            for (y, x) in y.chunks_exact_mut(n).zip(x.chunks_exact(2 * n)) {
                let (a, g) = x.split_at(n);
                for ((y, a), g) in y.iter_mut().zip(a).zip(g) {
                    *y = a * g * normal(*g).0;
                }
            }
        })
    });
    tensor(y, Shape::from(shape))
}

pub fn backward(x: Flexible, gradient: Flexible) -> Flexible {
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let shape = x.shape();
    let n = shape[shape.num_dims() - 1] / 2;
    let mut of_x = vec![0.0; shape.num_elements()];
    let rows = of_x
        .par_chunks_mut(2 * ROWS * n)
        .zip(numbers(&x).par_chunks(2 * ROWS * n))
        .zip(numbers(&gradient).par_chunks(ROWS * n));
    rows.for_each(|((of_x, x), dy)| {
        wide!(|| {
            let rows = of_x.chunks_exact_mut(2 * n).zip(x.chunks_exact(2 * n));
            for ((of_x, x), dy) in rows.zip(dy.chunks_exact(n)) {
                let ((a, g), (of_a, of_g)) = (x.split_at(n), of_x.split_at_mut(n));
                for i in 0..n {
                    let (below, density) = normal(g[i]);
                    of_a[i] = dy[i] * g[i] * below;
                    of_g[i] = dy[i] * a[i] * (below + g[i] * density);
                }
            }
        })
    });
    tensor(of_x, shape)
}
