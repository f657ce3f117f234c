//! Every algorithm on the UNets: both forward paths, in value and gradient.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Device, Distribution, Tensor},
};
use higanbana_adapters::{
    inject::{Injection, inject},
    layers::set_path,
    registry,
};
use higanbana_core::PathChoice;
use higanbana_diffusion::UNet2DConditionModel;

use super::{
    reference::{deviation, unet},
    unet::{CASES, Inputs},
};

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().iter().collect()
}

/// Moves every factor of the adapters a little, so that they act.
struct Train {
    depth: usize,
}

impl ModuleMapper for Train {
    fn enter_module(&mut self, _: &str, container: &str) {
        self.depth += usize::from(container == "Reparameterization");
    }
    fn exit_module(&mut self, _: &str, container: &str) {
        self.depth -= usize::from(container == "Reparameterization");
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.depth == 0 {
            return param;
        }
        param.map(|old| {
            let tracked = old.is_require_grad();
            let moved = old.clone() + old.random_like(Distribution::Normal(0.0, 0.05));
            moved.detach().set_require_grad(tracked)
        })
    }
}

#[test]
fn every_algorithm_acts_on_every_unet() {
    let device = Device::default().autodiff();
    for case in CASES {
        let model = unet(case, &device);
        let inputs = |model: &UNet2DConditionModel| {
            let mut inputs = Inputs::new(model, [8, 6], &device);
            inputs.sample = inputs.sample.require_grad();
            inputs
        };
        let untouched = values(inputs(&model).forward(&model));
        for kind in registry().iter() {
            let name = kind.name();
            let (new, report) = inject(&model, &registry(), &Injection::new("a", name)).unwrap();
            assert!(report.parameters() > 0, "{case} {name}");
            let start = values(inputs(&new).forward(&new));
            let off = deviation(&untouched, &start);
            assert!(off < 1e-5, "{case} {name}: a new adapter changes the output by {off:.1e}");

            let trained = new.map(&mut Train { depth: 0 });
            let run = |path| {
                let model = set_path(trained.clone(), path);
                let inputs = inputs(&model);
                let out = inputs.forward(&model);
                let gradients = out.clone().square().sum().backward();
                let sample = values(inputs.sample.grad(&gradients).unwrap());
                (values(out), sample)
            };
            let (out, sample) = run(PathChoice::Definition);
            let change = deviation(&untouched, &out);
            assert!(change > 1e-4, "{case} {name}: a trained adapter changes only {change:.1e}");
            let shortcut = run(PathChoice::Shortcut);
            let off = deviation(&out, &shortcut.0).max(deviation(&sample, &shortcut.1));
            assert!(off < 1e-4, "{case} {name}: the paths differ by {off:.1e}");
            println!("{case} {name}: change {change:.1e}, paths {off:.1e}");
        }
    }
}
