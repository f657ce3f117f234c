//! Channels in groups: a Kronecker product acts on each group, then on the groups as a whole.

use burn::tensor::Tensor;
use higanbana_core::Features;

/// Every group of neighbouring channels as a sample of its own.
pub(super) fn split(x: &Features, groups: usize) -> Features {
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
pub(super) fn mix(x: Features, m: Tensor<2>) -> Features {
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

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn groups_are_mixed_and_put_back_in_their_place() {
        let device = Device::default();
        let m = Tensor::from_data([[1.0, 10.0]], &device);
        let x = Tensor::from_data([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], &device);
        let expected = TensorData::from([[31.0, 42.0], [75.0, 86.0]]);

        let rows = Features::Rows { x: x.clone(), batch: 2 };
        let Features::Rows { x: y, batch: 2 } = mix(split(&rows, 2), m.clone()) else { panic!() };
        y.to_data().assert_eq(&expected, false);

        let maps = split(&Features::Maps(x.reshape([2, 4, 1, 1])), 2);
        let Features::Maps(parts) = &maps else { panic!() };
        assert_eq!(parts.dims(), [4, 2, 1, 1]);
        let Features::Maps(y) = mix(maps, m) else { panic!() };
        y.reshape([2, 2]).to_data().assert_eq(&expected, false);
    }
}
