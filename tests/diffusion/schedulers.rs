//! The schedulers against diffusers, step by step.

use burn::tensor::{Device, Tensor};
use higanbana_diffusion::schedulers::{SchedulerConfig, guide, names, scheduler};

use super::{
    formula,
    reference::{Expected, deviation, folder},
};

const CASES: [&str; 7] = ["sd15", "sd21", "sdxl", "zero_snr", "silent", "variant", "third"];

fn config(case: &str) -> SchedulerConfig {
    SchedulerConfig::read(&folder("schedulers").join(format!("{case}.json"))).unwrap()
}

fn numbers(x: &Tensor<4>) -> Vec<f32> {
    x.to_data().iter().collect()
}

#[test]
fn every_step_is_that_of_diffusers() {
    let device = Device::default();
    let expected = Expected::of("schedulers");
    let shape = [1, 2, 2, 2];
    let tensor = |name: &str| formula::tensor(name, shape, &device);
    let pattern = tensor("pattern");
    for name in names() {
        let mut worst = 0f64;
        for case in CASES {
            for steps in [4, 7, 20] {
                let key = format!("{case} {name} {steps}");
                if case == "third" && name.starts_with("dpmpp") {
                    assert!(scheduler(Some(name), &config(case), steps).is_err());
                    continue;
                }
                let mut scheduler = scheduler(Some(name), &config(case), steps).unwrap();
                let times = expected.values(&format!("{key} times"));
                let found: Vec<f32> = scheduler.times().iter().map(|t| *t as f32).collect();
                // Times of no training step are interpolated in the logarithm.
                assert_eq!(times.len(), found.len(), "{key}");
                let off = deviation(&times, &found);
                assert!(off < 1e-5, "{key}: {times:?} {found:?}");

                let samples = expected.values(&format!("{key} samples"));
                let mut drawn = 0;
                let mut noise = |like: &Tensor<4>| {
                    drawn += 1;
                    formula::tensor(&format!("noise {drawn}"), like.dims(), &like.device())
                };
                let mut x = tensor("start").mul_scalar(scheduler.initial_deviation());
                for step in 0..=times.len() {
                    let off = deviation(&samples[8 * step..][..8], &numbers(&x));
                    assert!(off <= 1e-5, "{key}, before step {step}: {off:.1e}");
                    worst = worst.max(off);
                    if step < times.len() {
                        let time = scheduler.times()[step];
                        let shown = scheduler.shown(x.clone(), step);
                        let output = shown.tanh().mul_scalar(0.7)
                            + pattern.clone().mul_scalar(0.2 * time / 1000.0);
                        x = scheduler.step(step, x, output, &mut noise);
                    }
                }
                let noised = scheduler.noised(tensor("image"), tensor("noise"), 1);
                let off = expected.check(&format!("{key} noised"), noised, 1e-5);
                worst = worst.max(off);
            }
        }
        println!("{name}: {worst:.1e}");
    }
}

#[test]
fn guidance_is_that_of_diffusers() {
    let device = Device::default();
    let expected = Expected::of("schedulers");
    for rescale in ["0.0", "0.7"] {
        let [negative, positive] =
            ["negative", "positive"].map(|name| formula::tensor(name, [2, 3, 2, 2], &device));
        let guided = guide(negative, positive, 7.5, rescale.parse().unwrap());
        expected.check(&format!("guided {rescale}"), guided, 1e-5);
    }
}

#[test]
fn the_models_own_scheduler_is_the_default() {
    for (case, name) in
        [("sd15", "pndm"), ("sd21", "ddim"), ("sdxl", "euler"), ("variant", "unipc")]
    {
        let [own, named] = [None, Some(name)]
            .map(|name| format!("{:?}", scheduler(name, &config(case), 7).unwrap()));
        assert_eq!(own, named);
    }
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let parse = |text: &str| SchedulerConfig::parse("s.json".as_ref(), text).unwrap();
    for (name, text, steps, expected) in [
        (Some("heun"), "{}", 5, "scheduler: heun is unknown; there are ddpm, ddim, pndm"),
        (None, r#"{"_class_name": "HeunDiscreteScheduler"}"#, 5, "HeunDiscreteScheduler"),
        (Some("ddim"), "{}", 0, "steps: are 0"),
        (Some("ddim"), "{}", 1001, "steps: are 1001; the model was trained on 1000 times"),
        (Some("lcm"), "{}", 51, "steps: are 51; this model was distilled to 50"),
        (Some("pndm"), "{}", 3, "steps: are 3; pndm needs 4"),
        (Some("ddim"), r#"{"beta_schedule": "sigmoid"}"#, 5, "field beta_schedule is sigmoid"),
        (Some("ddim"), r#"{"prediction_type": "sample"}"#, 5, "field prediction_type is sample"),
        (Some("ddim"), r#"{"thresholding": true}"#, 5, "field thresholding is true"),
        (Some("ddim"), r#"{"timestep_spacing": "odd"}"#, 5, "field timestep_spacing is odd"),
        (Some("ddim"), r#"{"steps_offset": 500}"#, 5, "field steps_offset leads to the time 1300"),
        (Some("dpmpp_2m"), r#"{"algorithm_type": "dpmsolver"}"#, 5, "algorithm_type is dpmsolver"),
        (Some("unipc"), r#"{"use_flow_sigmas": true}"#, 5, "field use_flow_sigmas is true"),
        (Some("euler"), r#"{"interpolation_type": "log_linear"}"#, 5, "field interpolation_type"),
    ] {
        let error = scheduler(name, &parse(text), steps).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let infinite = parse(r#"{"lambda_min_clipped": -Infinity}"#);
    assert!(scheduler(Some("dpmpp_2m"), &infinite, 5).is_ok());
}
