//! The UNet against diffusers.

use std::fs;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Tensor},
};
use higanbana_adapters::inject::{Preset, Rule, sites};
use higanbana_core::SiteKind;
use higanbana_diffusion::{
    Added, UNet2DConditionModel, UNetConfig,
    unet::{model::TIME_IDS, time::guidance},
    weights::{parameter_count, table},
};
use higanbana_io::names::Architecture;
use serde_json::Value;

use super::{
    formula,
    reference::{Expected, folder, unet},
};

pub const CASES: [&str; 3] = ["unet_sd1", "unet_sd2", "unet_sdxl"];
/// And one that is told the guidance scale.
const ALL: [&str; 4] = ["unet_sd1", "unet_sd2", "unet_sdxl", "unet_lcm"];

/// The inputs of the reference script.
pub struct Inputs {
    pub sample: Tensor<4>,
    pub times: Tensor<1>,
    pub context: Tensor<3>,
    pub added: Option<Added>,
    pub guidance: Option<Tensor<2>>,
}

impl Inputs {
    pub fn new(model: &UNet2DConditionModel, [h, w]: [usize; 2], device: &Device) -> Self {
        let width = model.config().levels[0].context;
        let added = model.config().text_time.map(|text_time| {
            let text = text_time.projected - TIME_IDS * text_time.size_width;
            let ids = [[64.0, 48.0, 0.0, 4.0, 64.0, 48.0], [33.0, 100.0, 7.0, 0.0, 32.0, 96.0]];
            Added {
                text_embeds: formula::tensor(&format!("text {h}x{w}"), [2, text], device),
                time_ids: Tensor::from_floats(ids, device),
            }
        });
        let guidance = model.config().guidance_width.map(|width| {
            Tensor::cat([7.5, 1.5].map(|scale| guidance(scale, width, device)).to_vec(), 0)
        });
        Self {
            guidance,
            sample: formula::tensor(&format!("sample {h}x{w}"), [2, 4, h, w], device),
            times: Tensor::from_floats([981.0, 3.0], device),
            context: formula::tensor(&format!("context {h}x{w}"), [2, 7, width], device),
            added,
        }
    }

    pub fn forward(&self, model: &UNet2DConditionModel) -> Tensor<4> {
        let (sample, times) = (self.sample.clone(), self.times.clone());
        let (context, added) = (self.context.clone(), self.added.as_ref());
        model.forward_guided(sample, times, context, added, self.guidance.clone())
    }
}

#[test]
fn the_output_is_that_of_diffusers_at_any_size() {
    let device = Device::default();
    for case in ALL {
        let (model, expected) = (unet(case, &device), Expected::of(case));
        for size in [[16, 12], [11, 7], [1, 3]] {
            let out = Inputs::new(&model, size, &device).forward(&model);
            let [h, w] = size;
            let deviation = expected.check(&format!("out {h}x{w}"), out, 1e-4);
            println!("{case} {h}x{w}: {deviation:.1e}");
        }
    }
}

#[test]
fn gradients_are_those_of_pytorch() {
    let (kept, burns) = (Device::default().autodiff(), Device::default().autodiff());
    for (name, device, checkpointed) in [
        ("all kept", kept.clone(), false),
        ("operations checkpointed", burns.gradient_checkpointing(), false),
        ("blocks checkpointed", kept, true),
    ] {
        for case in ALL {
            let (model, expected) = (unet(case, &device), Expected::of(case));
            let model = model.checkpointed(checkpointed);
            let mut inputs = Inputs::new(&model, [16, 12], &device);
            inputs.sample = inputs.sample.require_grad();
            inputs.context = inputs.context.require_grad();
            let out = inputs.forward(&model);
            let probe = formula::tensor("probe", out.dims(), &device);
            let gradients = (out * probe).sum().backward();

            let sample = inputs.sample.grad(&gradients).unwrap();
            let a = expected.check("grad sample", sample, 1e-4);
            let context = inputs.context.grad(&gradients).unwrap();
            let b = expected.check("grad encoder_hidden_states", context, 1e-4);

            // Burn's parameters come in the order of the table; the file has them by name.
            let mut found = Projections { gradients: &gradients, values: Vec::new() };
            model.visit(&mut found);
            let mut rows: Vec<_> = table(&model).into_iter().zip(found.values).collect();
            rows.sort_by(|a, b| a.0.key.cmp(&b.0.key));
            let (norms, dots) = (expected.values("grad norms"), expected.values("grad dots"));
            assert_eq!(rows.len(), norms.len());
            let mut worst = 0f64;
            for (index, (tensor, gradient)) in rows.iter().enumerate() {
                let square = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
                let numbers: Vec<f64> =
                    formula::numbers(&format!("grad {}", tensor.key), &tensor.shape)
                        .into_iter()
                        .map(f64::from)
                        .collect();
                // A linear layer's gradient is transposed.
                let gradient = match &tensor.shape[..] {
                    [out, input] => (0..out * input)
                        .map(|i| gradient[i % input * out + i / input])
                        .collect::<Vec<_>>(),
                    _ => gradient.clone(),
                };
                let dot: f64 = gradient.iter().zip(&numbers).map(|(a, b)| a * b).sum();
                let norm = f64::from(norms[index]).max(1e-3);
                let off = [
                    (square(&gradient) - f64::from(norms[index])).abs() / norm,
                    (dot - f64::from(dots[index])).abs() / norm / square(&numbers),
                ];
                worst = off.into_iter().fold(worst, f64::max);
                assert!(off.iter().all(|off| *off <= 1e-4), "{case} {}: {off:?}", tensor.key);
            }
            println!("{case} {name}: sample {a:.1e}, context {b:.1e}, parameters {worst:.1e}");
        }
    }
}

struct Projections<'a> {
    gradients: &'a burn::tensor::Gradients,
    values: Vec<Vec<f64>>,
}

impl ModuleVisitor for Projections<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.gradients).expect("every parameter has a gradient");
        self.values.push(gradient.into_data().iter().collect());
    }
}

fn published(name: &str) -> UNet2DConditionModel {
    let config = UNetConfig::read(&folder("published").join(format!("{name}.json"))).unwrap();
    UNet2DConditionModel::new(&config, &Device::default())
}

#[test]
fn the_published_models_have_exactly_these_tensors() {
    let counts = fs::read_to_string(folder("published").join("counts.json")).unwrap();
    let counts: Value = serde_json::from_str(&counts).unwrap();
    for (name, parameters) in
        [("sd15", 859_520_964), ("sd21", 865_910_724), ("sdxl", 2_567_463_684)]
    {
        let model = published(name);
        assert_eq!(parameter_count(&model), parameters, "{name}");
        let mut tensors = table(&model);
        tensors.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(tensors.len() as u64, counts[name]["tensors"].as_u64().unwrap());
        let lines = tensors.iter().map(|tensor| format!("{} {:?}", tensor.key, tensor.shape));
        let hash = formula::fnv(&lines.collect::<Vec<_>>().join("\n"));
        assert_eq!(format!("{hash:016x}"), counts[name]["table"].as_str().unwrap(), "{name}");
    }
}

#[test]
fn every_module_is_in_the_table_of_names() {
    for (name, architecture) in [("sd15", Architecture::Sd), ("sdxl", Architecture::Sdxl)] {
        let mut paths: Vec<String> = table(&published(name))
            .into_iter()
            .filter_map(|tensor| tensor.key.strip_suffix(".weight").map(String::from))
            .collect();
        let mut known: Vec<&str> = architecture.unet_modules().map(|(path, _)| path).collect();
        paths.sort();
        known.sort();
        assert_eq!(paths, known, "{name}");
    }
}

#[test]
fn rules_select_what_they_select_in_the_reference() {
    // kohya adapts its two lists of classes; LyCORIS 4.1.3, run on diffusers' models, counts the
    // embeddings of time among the transformers' layers.
    for (name, transformers, convolutions, attn_mlp, full) in
        [("sd15", 192, 86, 194, 282), ("sdxl", 722, 66, 726, 794)]
    {
        let found = sites(&published(name));
        let count = |rules: &[Rule]| {
            let selected = found.iter().filter(|found| {
                SiteKind::WEIGHTS.contains(&found.site.kind)
                    && rules.iter().any(|rule| rule.selects(found))
            });
            selected.count()
        };
        assert_eq!(count(&[Rule::classes(["Transformer2DModel"])]), transformers, "{name}");
        let classes = ["ResnetBlock2D", "Downsample2D", "Upsample2D"];
        assert_eq!(count(&[Rule::classes(classes)]), convolutions, "{name}");
        assert_eq!(count(&Preset::built_in("attn-mlp").unwrap().rules), attn_mlp, "{name}");
        assert_eq!(count(&Preset::built_in("full").unwrap().rules), full, "{name}");
    }
}
