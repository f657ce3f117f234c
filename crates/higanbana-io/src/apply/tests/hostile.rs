//! Whatever a file holds under the names of an algorithm, reading it ends in a value or in one line.

use burn::tensor::TensorData;
use proptest::{prelude::*, test_runner::RngSeed};

use super::lycoris::{adapter, manifest, reference};
use super::*;

/// Reads a file in every way that there is.
fn survive(files: &Files, base: &Path, path: &Path) {
    let one_line = |error: ApplyError| assert!(!error.to_string().contains('\n'), "{error}");
    for base in [None, Some(base)] {
        let _ = inspect(path, base, &registry(), &Device::flex(), |_, _| ()).map_err(one_line);
    }
    let _ = files.merge(base, &[(path, 0.5)], DType::F32).map_err(one_line);
}

/// Some of an algorithm's tensors, in shapes that need not fit each other.
fn module() -> impl Strategy<Value = Vec<(String, Vec<usize>)>> {
    let kinds = registry().iter().map(|kind| kind.keys()).collect::<Vec<_>>();
    let size = prop_oneof![Just(0usize), Just(1), Just(2), Just(3), Just(4), Just(6), Just(12)];
    let shape = proptest::collection::vec(size, 0..5);
    let inner = ["alpha", "dora_scale"];
    (0..kinds.len()).prop_flat_map(move |index| {
        let keys: Vec<&str> = kinds[index].iter().chain(&inner).copied().collect();
        let tensors =
            proptest::collection::vec(proptest::option::weighted(0.9, shape.clone()), keys.len());
        tensors.prop_map(move |shapes| {
            let found = keys.iter().zip(shapes).filter_map(|(key, shape)| Some((key, shape?)));
            found.map(|(key, shape)| (key.to_string(), shape)).collect()
        })
    })
}

fn base(files: &Files) -> PathBuf {
    let ones = |shape: &[usize]| TensorData::ones::<f32, _>(shape.to_vec());
    files.write(
        "base",
        &[
            ("linear.weight", ones(&[4, 6])),
            ("linear.bias", ones(&[4])),
            ("conv.weight", ones(&[4, 2, 3])),
            ("norm.weight", ones(&[4])),
            ("norm.bias", ones(&[4])),
        ],
    )
}

/// The same cases each time.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 200,
        rng_seed: RngSeed::Fixed(20),
        failure_persistence: None,
        max_shrink_iters: 64,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_shapes_are_survived(tensors in module()) {
        let files = Files::new();
        let tensors: Vec<(String, TensorData)> = ["linear", "conv", "norm"]
            .iter()
            .flat_map(|layer| {
                let named = tensors.iter().map(move |(key, shape)| (format!("lycoris_{layer}.{key}"), shape));
                named.map(|(key, shape)| (key, TensorData::ones::<f32, _>(shape.clone())))
            })
            .collect();
        let tensors: Vec<_> = tensors.iter().map(|(key, data)| (key.as_str(), data.clone())).collect();
        let (base, path) = (base(&files), files.write("a", &tensors));
        survive(&files, &base, &path);
    }
}

/// Shapes that a tensor of this shape could have by mistake.
fn mistakes(shape: &[usize]) -> Vec<Vec<usize>> {
    let changed = |at: usize, size: usize| {
        let mut shape = shape.to_vec();
        shape[at] = size;
        shape
    };
    let each = (0..shape.len())
        .flat_map(|at| [changed(at, 0), changed(at, shape[at] + 1), changed(at, 1)]);
    let reversed = shape.iter().rev().copied().collect();
    let longer = [shape, &[2]].concat();
    let shorter = shape.split_last().map(|(_, rest)| rest.to_vec());
    let flat = vec![shape.iter().product()];
    each.chain([reversed, longer, flat, vec![]]).chain(shorter).collect()
}

#[test]
fn one_misshapen_tensor_is_survived() {
    let files = Files::new();
    let base = reference("base.safetensors");
    for case in manifest() {
        let file = Checkpoint::open(adapter(&files, &case)).unwrap();
        let (layer, _) = file.names()[0].split_once('.').unwrap();
        let names: Vec<&String> =
            file.names().iter().filter(|name| name.starts_with(layer)).collect();
        for wrong in &names {
            for shape in mistakes(&file.info(wrong).unwrap().shape) {
                let tensors = names.iter().map(|name| {
                    let data = if name == wrong {
                        TensorData::ones::<f32, _>(shape.clone())
                    } else {
                        file.read(name).unwrap()
                    };
                    (name.as_str(), data)
                });
                let path = files.write("a", &tensors.collect::<Vec<_>>());
                survive(&files, &base, &path);
            }
        }
    }
}

#[test]
fn factors_that_claim_a_huge_weight_are_not_multiplied() {
    let files = Files::new();
    let path = files.write(
        "a",
        &[
            ("l.lora_up.weight", TensorData::ones::<f32, _>([1 << 20, 1])),
            ("l.lora_down.weight", TensorData::ones::<f32, _>([1, 1 << 20])),
        ],
    );
    let Ok(Inspection::Adapter(adapters)) =
        inspect(&path, None, &registry(), &Device::flex(), |_, _| ())
    else {
        panic!("it is an adapter")
    };
    assert_eq!((adapters.adapters[0].norm, adapters.parameters), (None, 1 << 21));
}
