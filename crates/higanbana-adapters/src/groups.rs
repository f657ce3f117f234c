//! Channels in groups: a Kronecker product acts on each group, then on the groups as a whole.

use burn::tensor::Tensor;
use higanbana_core::Features;

/// Every group of neighbouring channels as a sample of its own.
pub fn split(x: &Features, groups: usize) -> Features {
    match x {
        Features::Rows { x, batch } => {
            let [rows, channels] = x.dims();
            let x = x.clone().reshape([rows * groups, channels / groups]);
            Features::Rows { x, batch: *batch }
        }
        Features::Maps(x) => {
            let [batch, channels, height, width] = x.dims();
            let shape = [batch * groups, channels / groups, height, width];
            Features::Maps(x.clone().reshape(shape))
        }
    }
}

/// Undoes [`split`] and mixes the groups on the way: `m` is `[groups out, groups in]`.
pub fn mix(x: Features, m: Tensor<2>) -> Features {
    let [after, before] = m.dims();
    let m = m.unsqueeze::<3>();
    match x {
        Features::Rows { x, batch } => {
            let [rows, channels] = x.dims();
            let y = m.matmul(x.reshape([rows / before, before, channels]));
            Features::Rows { x: y.reshape([rows / before, after * channels]), batch }
        }
        Features::Maps(x) => {
            let [samples, channels, height, width] = x.dims();
            let y = m.matmul(x.reshape([samples / before, before, channels * height * width]));
            Features::Maps(y.reshape([samples / before, after * channels, height, width]))
        }
    }
}
