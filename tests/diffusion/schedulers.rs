//! The schedulers against diffusers, step by step.

use burn::tensor::{Device, Tensor};
use higanbana_diffusion::schedulers::{SchedulerConfig, Sigmas, guide, names, scheduler};

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

/// What a scheduler does in a case, step by step, against the reference's; how far it is off.
fn check(
    expected: &Expected,
    (case, name, steps): (&str, &str, usize),
    sigmas: Option<Sigmas>,
) -> f64 {
    let device = Device::default();
    let tensor = |name: &str| formula::tensor(name, [1, 2, 2, 2], &device);
    let pattern = tensor("pattern");
    let spread = sigmas.map_or(String::new(), |sigmas| format!("/{}", sigmas.name()));
    let key = format!("{case} {name}{spread} {steps}");
    let mut scheduler = scheduler(Some(name), sigmas, &config(case), steps).unwrap();
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
    let mut worst = 0f64;
    for step in 0..=times.len() {
        let off = deviation(&samples[8 * step..][..8], &numbers(&x));
        assert!(off <= 1e-5, "{key}, before step {step}: {off:.1e}");
        worst = worst.max(off);
        if step < times.len() {
            let time = scheduler.times()[step];
            let shown = scheduler.shown(x.clone(), step);
            let output =
                shown.tanh().mul_scalar(0.7) + pattern.clone().mul_scalar(0.2 * time / 1000.0);
            x = scheduler.step(step, x, output, &mut noise);
        }
    }
    let noised = scheduler.noised(tensor("image"), tensor("noise"), 1);
    worst.max(expected.check(&format!("{key} noised"), noised, 1e-5))
}

#[test]
fn every_step_is_that_of_diffusers() {
    let expected = Expected::of("schedulers");
    for name in names() {
        let mut worst = 0f64;
        for case in CASES {
            for steps in [4, 7, 20] {
                if case == "third" && name.starts_with("dpmpp_2m") {
                    assert!(scheduler(Some(name), None, &config(case), steps).is_err());
                    continue;
                }
                worst = worst.max(check(&expected, (case, name, steps), None));
            }
        }
        println!("{name}: {worst:.1e}");
    }
}

#[test]
fn levels_of_noise_are_spread_as_in_diffusers() {
    let expected = Expected::of("schedulers");
    for name in ["euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "dpmpp_sde", "unipc"]
    {
        for sigmas in Sigmas::ALL {
            for case in ["sd15", "sdxl", "zero_snr"] {
                let off = check(&expected, (case, name, 7), Some(sigmas));
                println!("{case} {name} {}: {off:.1e}", sigmas.name());
            }
        }
    }
    let named = |name, sigmas| format!("{:?}", scheduler(Some(name), sigmas, &config("sd15"), 7));
    assert_eq!(named("dpmpp_2m_karras", None), named("dpmpp_2m", Some(Sigmas::Karras)));
    for name in ["ddim", "euler_a", "dpmpp_2m_karras"] {
        let error = scheduler(Some(name), Some(Sigmas::Beta), &config("sd15"), 7).unwrap_err();
        let expected = format!("sigmas: are those of {name}; they are free for euler, heun");
        assert!(error.to_string().starts_with(&expected), "{error}");
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
            .map(|name| format!("{:?}", scheduler(name, None, &config(case), 7).unwrap()));
        assert_eq!(own, named);
    }
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let parse = |text: &str| SchedulerConfig::parse("s.json".as_ref(), text).unwrap();
    for (name, text, steps, expected) in [
        (Some("dpm_fast"), "{}", 5, "scheduler: dpm_fast is unknown; there are ddpm, ddim, pndm"),
        (None, r#"{"_class_name": "LMSDiscreteScheduler"}"#, 5, "LMSDiscreteScheduler"),
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
        (
            Some("heun"),
            r#"{"use_beta_sigmas": true, "use_karras_sigmas": true}"#,
            5,
            "field use_karras_sigmas is true, and so is use_beta_sigmas",
        ),
        (Some("euler"), r#"{"interpolation_type": "log_linear"}"#, 5, "field interpolation_type"),
    ] {
        let error = scheduler(name, None, &parse(text), steps).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let infinite = parse(r#"{"lambda_min_clipped": -Infinity}"#);
    assert!(scheduler(Some("dpmpp_2m"), None, &infinite, 5).is_ok());
}
