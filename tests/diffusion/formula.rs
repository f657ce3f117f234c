//! Numbers that the reference script and these tests compute alike, in place of stored ones.

use std::path::Path;

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};
use higanbana_diffusion::weights;
use higanbana_io::writer::{Entry, write};
use higanbana_io::{Dtype, FileError};

/// 64-bit FNV-1a.
pub fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Multiples of 2^-23 in [-1, 1): the splitmix64 sequence whose seed is the hash of the name.
fn unit(name: &str) -> impl Iterator<Item = f64> {
    let seed = fnv(name);
    (1u64..).map(move |i| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f64 * 2f64.powi(-23) - 1.0
    })
}

fn values(name: &str, count: usize, scale: f64, shift: f64) -> Vec<f32> {
    unit(name).take(count).map(|u| (shift + scale * u) as f32).collect()
}

/// A tensor of unit variance.
pub fn tensor<const D: usize>(name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    scaled(name, shape, 3f64.sqrt(), device)
}

/// A tensor of numbers in [-scale, scale).
pub fn scaled<const D: usize>(
    name: &str,
    shape: [usize; D],
    scale: f64,
    device: &Device,
) -> Tensor<D> {
    let values = values(name, shape.iter().product(), scale, 0.0);
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Numbers for a tensor of a file.
pub fn numbers(name: &str, shape: &[usize]) -> Vec<f32> {
    values(name, shape.iter().product(), 3f64.sqrt(), 0.0)
}

/// A weight of variance 1/fan-in, a norm's scale around 1, a bias around 0.
pub fn weight(key: &str, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    match shape {
        [_] if key.ends_with("weight") => values(key, count, 0.3, 1.0),
        [_] => values(key, count, 0.1, 0.0),
        [_, fan_in @ ..] => {
            let fan_in = fan_in.iter().product::<usize>() as f64;
            values(key, count, (3.0 / fan_in).sqrt(), 0.0)
        }
        [] => unreachable!("no weight is a scalar"),
    }
}

/// Writes the weights of a model into a folder, as diffusers names them.
pub fn write_weights<M: Module>(model: &M, file: &Path) {
    let entries = weights::table(model).into_iter().map(|tensor| {
        let (key, shape) = (tensor.key.clone(), tensor.shape.clone());
        Entry::new(tensor.key, Dtype::F32, tensor.shape, move || {
            Ok::<_, FileError>(bytes(&weight(&key, &shape)))
        })
    });
    write(file, entries.collect(), &Default::default(), true).unwrap();
}

pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
