//! A step of training with every algorithm against LyCORIS, diffusers and torch: the loss, the gradient of
//! every trained tensor, and the tensors after ten steps of AdamW.

use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::{DType, Device, Tensor},
};
use higanbana_adapters::{
    inject::{attach, sites},
    layers::set_path,
    registry,
};
use higanbana_core::{Condition, DynAdapter, Parts, PathChoice, Site, init, slot};
use higanbana_diffusion::{
    Added, UNet2DConditionModel,
    schedulers::{NoiseSchedule, Prediction},
};
use higanbana_io::{Checkpoint, load};
use higanbana_train::{
    Group, ModelOptimizer,
    network::{Batch, Network, SET},
    objective::Objective,
    optimizer, weights,
};

use super::{formula, parts::folder, reference::unet_folder};

/// What the script says of a case, and found.
struct Case {
    name: String,
    file: Checkpoint,
}

impl Case {
    fn all() -> Vec<Self> {
        let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
        let mut cases: Vec<Self> = files
            .filter_map(|path| {
                let name = path.file_name()?.to_str()?.strip_suffix(".expected.safetensors")?;
                Some(Self { name: name.into(), file: Checkpoint::open(&path).unwrap() })
            })
            .collect();
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    }

    /// The first number of a tensor that not all cases have.
    fn number(&self, key: &str) -> Option<f64> {
        self.file.read(key).ok()?.iter().next()
    }

    fn times(&self) -> [usize; 2] {
        self.number("times").map_or([981, 3], |time| [time as usize; 2])
    }

    /// The UNet, computing in a type, with the adapters of the script in single precision at least.
    fn network(&self, dtype: DType, path: PathChoice) -> Network {
        let model = unet_folder(if self.is_xl() { "unet_sdxl" } else { "unet_sd1" });
        let read = |dtype| UNet2DConditionModel::read(model.path(), &Device::default(), dtype);
        let file = folder().join(format!("{}.safetensors", self.name));
        let trained = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let loaded = load(&file, &sites(&read(trained).unwrap()), &registry()).unwrap();
        assert!(loaded.leftovers.is_empty(), "{:?}", loaded.leftovers);
        let mut adapters = loaded.adapters;
        let block = self.number("block").map(|block| block as usize);
        if block.is_some() {
            adapters = adapters.into_iter().map(|(site, it)| nested(site, &it)).collect();
        }
        let mut condition = Condition::at(self.times().map(|time| time as f64), 1000.0);
        condition.step = block.map(|block| {
            let chosen = |site: &Site, step| init::choose(site, step, 4) == block;
            let all = |step: &u64| adapters.iter().all(|(site, _)| chosen(site, *step));
            (0..).find(all).unwrap()
        });
        let unet = attach(&read(dtype).unwrap(), SET, 1.0, adapters).unwrap();
        let network = Network { unet: set_path(unet, path), encoders: Vec::new() };
        weights::identified(slot::condition(network, &condition).train())
    }

    /// The loss of the script's batch.
    fn loss(&self, network: &Network, dtype: DType) -> Tensor<1> {
        let schedule = NoiseSchedule::stable_diffusion();
        let device = Device::default().autodiff();
        let z = formula::tensor("training latents", [2, 4, 8, 8], &device);
        let n = formula::tensor("training noise", [2, 4, 8, 8], &device);
        let width = network.unet.config().levels[0].context;
        let batch = Batch {
            noisy: schedule.add_noise(z, n.clone(), &self.times()).cast(dtype),
            target: n,
            mask: None,
            times: self.times().into(),
            weights: vec![1.0; 2],
            context: formula::tensor("training context", [2, 7, width], &device).cast(dtype),
            added: self.is_xl().then(|| Added {
                text_embeds: formula::tensor("text 8x8", [2, 32], &device).cast(dtype),
                time_ids: Tensor::from_floats(
                    [[64.0, 48.0, 0.0, 4.0, 64.0, 48.0], [33.0, 100.0, 7.0, 0.0, 32.0, 96.0]],
                    &device,
                ),
            }),
        };
        let objective = Objective::default();
        let loss = network.losses(&batch, &objective, &schedule, Prediction::Epsilon).mean();
        match self.number("orthogonality") {
            Some(weight) => loss + network.orthogonality().unwrap().mul_scalar(weight),
            None => loss,
        }
    }

    fn is_xl(&self) -> bool {
        self.name.ends_with("sdxl")
    }
}

/// An adapter of nested ranks, which is told from no other by its file.
fn nested(site: Site, adapter: &DynAdapter) -> (Site, DynAdapter) {
    let tensors = adapter.write(&site);
    let parts = Parts::new(&site.path, &tensors, &Device::default(), DType::F32);
    let registry = registry();
    let nested = registry.get("dylora").unwrap().read(&site, &parts).unwrap();
    (site, nested)
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
        if !param.is_require_grad() {
            return;
        }
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
        // What is no number is the worst; it may have a sign.
        let off = (norm(&difference) / norm(&expected)).abs();
        worst = if off.total_cmp(&worst).is_gt() { off } else { worst };
        count += 1;
    }
    assert_eq!(count, found.len(), "as many tensors are trained");
    worst
}

#[test]
fn a_step_is_that_of_lycoris_and_torch() {
    assert!(Case::all().len() >= 15);
    for case in Case::all() {
        let (name, loss) = (&case.name, case.number("loss").unwrap());
        for path in [PathChoice::Definition, PathChoice::Shortcut] {
            let network = case.network(DType::F32, path);
            let found = case.loss(&network, DType::F32);
            let value: f64 = found.to_data().iter().next().unwrap();
            assert!((value / loss - 1.0).abs() < 1e-5, "{name}: {value} {loss}");
            let gradients = GradientsParams::from_grads(found.backward(), &network);
            let gradients = named(&network, || Want::Gradients(&gradients));
            let off = worst(&case.file, "gradient", &gradients);
            assert!(off < 1e-4, "{name} {path:?}: gradients are off by {off:.1e}");
        }
    }
}

/// In half precision the gradients are of single precision, and as far from those above as the rounding
/// explains, that of tens of operations forwards and backwards.
#[test]
fn a_step_in_half_precision_is_near() {
    for case in Case::all() {
        for (dtype, rounding) in [(DType::F16, 1.0 / 2048.0), (DType::BF16, 1.0 / 256.0)] {
            for path in [PathChoice::Definition, PathChoice::Shortcut] {
                let network = case.network(dtype, path);
                let loss = case.loss(&network, dtype);
                assert_eq!(loss.dtype(), DType::F32);
                // Or small ones vanish.
                let gradients = loss.mul_scalar(4096.0).backward();
                let gradients = GradientsParams::from_grads(gradients, &network);
                let mut gradients = named(&network, || Want::Gradients(&gradients));
                gradients.values_mut().flatten().for_each(|x| *x /= 4096.0);
                let off = worst(&case.file, "gradient", &gradients);
                println!("{} {dtype:?} {path:?}: {off:.1e}", case.name);
                let near = rounding / 10.0..60.0 * rounding;
                assert!(near.contains(&off), "{} {dtype:?} {path:?}: {off:.1e}", case.name);
            }
        }
    }
}

#[test]
fn ten_steps_of_adamw_are_those_of_torch() {
    let rule = optimizer("adamw").unwrap();
    for case in Case::all() {
        // The script says why.
        let dense = case.file.names().iter().any(|key| key.ends_with(".bias"));
        let dtype = if dense { DType::F64 } else { DType::F32 };
        let mut network = case.network(dtype, PathChoice::Auto);
        let decay = if dense { 0.0 } else { case.number("decay").unwrap_or(0.01) };
        let start = named(&network, || Want::Values);
        let settings = rule.settings().with("weight_decay", decay);
        let group = Group { rate: 1e-2, settings };
        let mut optimizer = ModelOptimizer::new(&network, rule, &[group], |_| 0);
        for _ in 0..10 {
            let loss = case.loss(&network, dtype);
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            network = optimizer.step(1.0, network, gradients);
        }
        let mut after = named(&network, || Want::Values);
        if dense {
            for (values, start) in after.values_mut().zip(start.values()) {
                values.iter_mut().zip(start).for_each(|(value, start)| *value -= start);
            }
        }
        let off = worst(&case.file, "after", &after);
        println!("{}: {off:.1e}", case.name);
        assert!(off < 1e-4, "{}: weights are off by {off:.1e}", case.name);
    }
}

#[test]
fn ids_follow_from_paths() {
    let ids = || -> Vec<ParamId> {
        let network = Case::all()[0].network(DType::F32, PathChoice::Auto);
        let trained = weights::read(&network);
        let parameters = higanbana_train::model::parameters(&network).into_iter();
        parameters.filter(|(_, path)| trained.contains_key(path)).map(|(id, _)| id).collect()
    };
    assert!(!ids().is_empty());
    assert_eq!(ids(), ids());
}
