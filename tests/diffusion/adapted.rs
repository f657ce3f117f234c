//! Adapters on the UNet against LyCORIS on diffusers' under PyTorch: values, and the gradient of every
//! trained tensor, in both forward paths, with and without recomputation.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Device, Gradients, Tensor},
};
use higanbana_adapters::{
    inject::{self, Injection, Rule},
    layers::set_path,
    registry,
};
use higanbana_core::PathChoice;
use higanbana_diffusion::UNet2DConditionModel;
use toml::toml;

use super::{
    formula,
    reference::{Expected, unet},
    unet::Inputs,
};

/// Where a traversal is: the name of the innermost field that is no index.
#[derive(Default)]
struct Stem(Vec<String>);

impl Stem {
    fn of(&self, path: &str) -> String {
        let index = |part: &&String| part.parse::<usize>().is_err();
        format!("{path}.{}", self.0.iter().rfind(index).unwrap())
    }
}

/// Gives every trained tensor of an adapter the values of the reference script.
struct Fill<'a> {
    path: &'a str,
    scale: f64,
    stem: Stem,
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.stem.0.push(name.into());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.stem.0.pop();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.stem.of(self.path);
        param.map(|old| {
            if !old.is_require_grad() {
                return old;
            }
            let values = |scale| formula::scaled(&name, old.dims(), scale, &old.device());
            let new = match name.ends_with("dora_scale") {
                true => old.clone().detach() * (values(0.1) + 1.0),
                false => values(self.scale),
            };
            new.detach().set_require_grad(true)
        })
    }
}

/// Name and gradient of every trained tensor.
struct Found<'a> {
    path: String,
    gradients: &'a Gradients,
    stem: Stem,
    found: Vec<(String, Vec<f64>)>,
}

impl ModuleVisitor for Found<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.stem.0.push(name.into());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.stem.0.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if tensor.is_require_grad() {
            let gradient = tensor.grad(self.gradients).expect("every tensor has a gradient");
            let name = self.stem.of(&self.path);
            self.found.push((name, gradient.into_data().iter().collect()));
        }
    }
}

/// The UNet with adapters on every layer of transformers, residual blocks and samplers.
fn adapted(name: &str, device: &Device) -> UNet2DConditionModel {
    let (algorithm, options, scale) = match name {
        "lora" => ("lora", toml! { rank = 4 alpha = 2.0 }, 0.3),
        "loha" => ("loha", toml! { rank = 4 alpha = 2.0 }, 0.5),
        "lokr" => ("lokr", toml! { rank = 4 alpha = 2.0 factor = 4 }, 0.4),
        "lora+dora" => ("lora+dora", toml! { rank = 4 alpha = 2.0 }, 0.3),
        "glora" => ("glora", toml! { rank = 4 alpha = 2.0 }, 0.2),
        "diag-oft" => ("diag-oft", toml! { rank = 4 constraint = 2.0 }, 0.2),
        _ => ("boft", toml! { rank = 4 constraint = 2.0 }, 0.2),
    };
    let classes = ["Transformer2DModel", "ResnetBlock2D", "Downsample2D", "Upsample2D"];
    let rule = Rule::classes(classes);
    let injection = Injection::new("a", algorithm).options(options).rule(rule);
    let (model, _) = inject::inject(&unet("unet_sd1", device), &registry(), &injection).unwrap();
    let adapters = inject::adapters(&model, "a").unwrap().into_iter().map(|(site, adapter)| {
        let mut fill = Fill { path: &site.path.clone(), scale, stem: Stem::default() };
        (site, adapter.map(&mut fill))
    });
    let adapters = adapters.collect();
    inject::attach(&inject::detach(&model, "a").unwrap(), "a", 1.0, adapters).unwrap()
}

#[test]
fn gradients_are_those_of_lycoris_in_pytorch() {
    let device = Device::default().autodiff();
    for name in ["lora", "loha", "lokr", "lora+dora", "glora", "diag-oft", "boft"] {
        let expected = Expected::open(&format!("adapted/{name}.safetensors"));
        let model = adapted(name, &device);
        for (path, checkpointed) in [
            (PathChoice::Definition, false),
            (PathChoice::Shortcut, false),
            (PathChoice::Definition, true),
            (PathChoice::Shortcut, true),
        ] {
            let model = set_path(model.clone(), path).checkpointed(checkpointed);
            let mut inputs = Inputs::new(&model, [8, 6], &device);
            inputs.sample = inputs.sample.require_grad();
            let out = inputs.forward(&model);
            let probe = formula::tensor("probe", out.dims(), &device);
            let value = expected.check("out", out.clone(), 1e-4);
            let gradients = (out * probe).sum().backward();
            let sample = inputs.sample.grad(&gradients).unwrap();
            let sample = expected.check("grad sample", sample, 1e-4);

            let mut found = Vec::new();
            for (site, adapter) in inject::adapters(&model, "a").unwrap() {
                let mut visit = Found {
                    path: site.path,
                    gradients: &gradients,
                    stem: Stem::default(),
                    found: Vec::new(),
                };
                adapter.visit(&mut visit);
                found.extend(visit.found);
            }
            found.sort_by(|a, b| a.0.cmp(&b.0));
            let (norms, dots) = (expected.values("grad norms"), expected.values("grad dots"));
            assert_eq!(found.len(), norms.len(), "{name}");
            let mut worst = 0f64;
            for (index, (key, gradient)) in found.iter().enumerate() {
                let numbers = formula::numbers(&format!("grad {key}"), &[gradient.len()]);
                let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
                let dot: f64 = gradient.iter().zip(&numbers).map(|(g, n)| g * f64::from(*n)).sum();
                let numbers: Vec<f64> = numbers.into_iter().map(f64::from).collect();
                let scale = f64::from(norms[index]).max(1e-3);
                let off = [
                    (norm(gradient) - f64::from(norms[index])).abs() / scale,
                    (dot - f64::from(dots[index])).abs() / scale / norm(&numbers),
                ];
                worst = off.into_iter().fold(worst, f64::max);
                assert!(off.iter().all(|off| *off <= 1e-4), "{name} {path:?} {key}: {off:?}");
            }
            println!(
                "{name} {path:?}, recomputed {checkpointed}: out {value:.1e}, sample {sample:.1e}, \
                 adapters {worst:.1e}"
            );
        }
    }
}
