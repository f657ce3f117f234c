//! A step of training with every algorithm against LyCORIS, diffusers and torch: the loss, the gradient of
//! every trained tensor, and the tensors after ten steps of AdamW.

use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::{Device, Tensor},
};
use higanbana_adapters::{
    inject::{attach, sites},
    layers::set_path,
    registry,
};
use higanbana_core::PathChoice;
use higanbana_diffusion::schedulers::{NoiseSchedule, Prediction};
use higanbana_io::{Checkpoint, load};
use higanbana_train::{
    Group, ModelOptimizer,
    network::{Batch, Network, SET},
    objective::Objective,
    optimizer, weights,
};

use super::{formula, parts::folder, reference::unet};

const TIMES: [usize; 2] = [981, 3];

fn network(algorithm: &str, path: PathChoice) -> Network {
    let unet = unet("unet_sd1", &Device::default());
    let file = folder().join(format!("{algorithm}.safetensors"));
    let loaded = load(&file, &sites(&unet), &registry()).unwrap();
    assert!(loaded.leftovers.is_empty(), "{:?}", loaded.leftovers);
    let unet = attach(&unet, SET, 1.0, loaded.adapters).unwrap();
    let network = Network { unet: set_path(unet, path), encoders: Vec::new() };
    weights::identified(network.train())
}

fn batch(network: &Network, schedule: &NoiseSchedule) -> Batch {
    let device = Device::default().autodiff();
    let z = formula::tensor("training latents", [2, 4, 8, 8], &device);
    let n = formula::tensor("training noise", [2, 4, 8, 8], &device);
    let width = network.unet.config().levels[0].context;
    Batch {
        noisy: schedule.add_noise(z, n.clone(), &TIMES),
        target: n,
        times: TIMES.into(),
        weights: vec![1.0; 2],
        context: formula::tensor("training context", [2, 7, width], &device),
        added: None,
    }
}

/// What one visit of an adapter's tensors is after.
enum Want<'a> {
    Gradients(&'a GradientsParams),
    Values,
}

struct Visit<'a> {
    want: Want<'a>,
    field: Vec<String>,
    found: Vec<(String, Vec<f64>)>,
}

impl ModuleVisitor for Visit<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = match &self.want {
            Want::Values => param.val().into_data(),
            Want::Gradients(gradients) => gradients.get::<D>(param.id).unwrap().into_data(),
        };
        let field = self.field.iter().rfind(|part| part.parse::<usize>().is_err()).unwrap();
        self.found.push((field.clone(), values.iter().collect()));
    }
    fn enter_module(&mut self, name: &str, _: &str) {
        self.field.push(name.into());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.field.pop();
    }
}

/// The trained tensors, or their gradients, by LyCORIS's names.
fn named<'a>(network: &Network, want: impl Fn() -> Want<'a>) -> BTreeMap<String, Vec<f64>> {
    let mut all = BTreeMap::new();
    for (_, site, adapter) in network.adapters().unwrap() {
        let mut visit = Visit { want: want(), field: Vec::new(), found: Vec::new() };
        adapter.visit(&mut visit);
        let module = site.path.replace('.', "_");
        for (field, values) in visit.found {
            let field = match (field.as_str(), site.kind.is_vector()) {
                // Here a weight and a bias are adapted each by itself.
                ("diff", vector) => if vector { "bias" } else { "weight" }.into(),
                ("norm", _) if site.kind.name().contains("bias") => "b_norm".into(),
                ("norm", _) => "w_norm".into(),
                _ => field,
            };
            all.insert(format!("lycoris_{module}.{field}"), values);
        }
    }
    all
}

/// ‖a − b‖ / ‖b‖ of every tensor of the file; the worst.
fn worst(file: &Checkpoint, kind: &str, found: &BTreeMap<String, Vec<f64>>) -> f64 {
    let mut count = 0;
    let mut worst = 0f64;
    for key in file.names() {
        let Some(name) = key.strip_prefix(&format!("{kind}.")) else { continue };
        let plain = name.strip_suffix(".weight").filter(|plain| found.contains_key(*plain));
        let found = found.get(plain.unwrap_or(name)).unwrap_or_else(|| panic!("no {name}"));
        let expected: Vec<f64> = file.read(key).unwrap().iter().collect();
        assert_eq!(found.len(), expected.len(), "{name}");
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let difference: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
        let off = norm(&difference) / norm(&expected);
        worst = if off <= worst { worst } else { off };
        count += 1;
    }
    assert_eq!(count, found.len(), "as many tensors are trained");
    worst
}

fn algorithms() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name());
    let names = files
        .filter_map(|name| Some(name.to_str()?.strip_suffix(".expected.safetensors")?.to_string()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn a_step_is_that_of_lycoris_and_torch() {
    let schedule = NoiseSchedule::stable_diffusion();
    let objective = Objective::default();
    assert!(algorithms().len() >= 12);
    for algorithm in algorithms() {
        let file = folder().join(format!("{algorithm}.expected.safetensors"));
        let file = Checkpoint::open(file).unwrap();
        let loss: f64 = file.read("loss").unwrap().iter().next().unwrap();
        for path in [PathChoice::Definition, PathChoice::Shortcut] {
            let network = network(&algorithm, path);
            let batch = batch(&network, &schedule);
            let found = network.losses(&batch, &objective, &schedule, Prediction::Epsilon).mean();
            let value: f64 = found.to_data().iter().next().unwrap();
            assert!((value / loss - 1.0).abs() < 1e-5, "{algorithm}: {value} {loss}");
            let gradients = GradientsParams::from_grads(found.backward(), &network);
            let gradients = named(&network, || Want::Gradients(&gradients));
            let off = worst(&file, "gradient", &gradients);
            assert!(off < 1e-4, "{algorithm} {path:?}: gradients are off by {off:.1e}");
        }
    }
}

#[test]
fn ten_steps_of_adamw_are_those_of_torch() {
    let schedule = NoiseSchedule::stable_diffusion();
    let rule = optimizer("adamw").unwrap();
    for algorithm in algorithms() {
        let file = folder().join(format!("{algorithm}.expected.safetensors"));
        let file = Checkpoint::open(file).unwrap();
        let mut network = network(&algorithm, PathChoice::Auto);
        let batch = batch(&network, &schedule);
        // The script says why.
        let dense = file.names().iter().any(|key| key.ends_with(".bias"));
        let decay = if dense { 0.0 } else { 0.01 };
        let start = named(&network, || Want::Values);
        let settings = rule.settings().with("weight_decay", decay);
        let group = Group { rate: 1e-2, settings };
        let mut optimizer = ModelOptimizer::new(&network, rule, &[group], |_| 0);
        for _ in 0..10 {
            let objective = Objective::default();
            let loss = network.losses(&batch, &objective, &schedule, Prediction::Epsilon).mean();
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            network = optimizer.step(1.0, network, gradients);
        }
        let mut after = named(&network, || Want::Values);
        if dense {
            for (values, start) in after.values_mut().zip(start.values()) {
                values.iter_mut().zip(start).for_each(|(value, start)| *value -= start);
            }
        }
        let off = worst(&file, "after", &after);
        assert!(off < 1e-3, "{algorithm}: weights are off by {off:.1e}");
    }
}

#[test]
fn ids_follow_from_paths() {
    let ids = || -> Vec<ParamId> {
        let network = network(&algorithms()[0], PathChoice::Auto);
        let trained = weights::read(&network);
        let parameters = higanbana_train::model::parameters(&network).into_iter();
        parameters.filter(|(_, path)| trained.contains_key(path)).map(|(id, _)| id).collect()
    };
    assert!(!ids().is_empty());
    assert_eq!(ids(), ids());
}
