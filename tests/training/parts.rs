//! Weights of samples, schedules, and images of other sizes, against diffusers, torch and Pillow; noise and
//! losses against what their formulas say.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use higanbana_diffusion::{
    pipeline::Pixels,
    schedulers::{NoiseSchedule, Prediction},
};
use higanbana_io::Checkpoint;
use higanbana_train::{
    data::{bucket::Fit, resample::fitted},
    objective::{
        HuberSchedule, Loss, Multires, Objective,
        noise::{bilinear, normal},
    },
    random::stream,
    schedule::{Kind, Schedule},
};
use rand::RngExt;

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/training")
}

fn part(name: &str) -> (Vec<f64>, Vec<usize>) {
    let file = Checkpoint::open(folder().join("parts.safetensors")).unwrap();
    let data = file.read(name).unwrap();
    (data.iter().collect(), data.shape().as_slice().to_vec())
}

#[track_caller]
fn close(found: impl IntoIterator<Item = f64>, expected: &[f64], tolerance: f64) {
    let found: Vec<f64> = found.into_iter().collect();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let off = (found - expected).abs() / expected.abs().max(1e-12);
        assert!(off <= tolerance, "{found} where {expected} is expected");
    }
}

#[test]
fn samples_weigh_as_in_diffusers() {
    let schedule = NoiseSchedule::stable_diffusion();
    let snr: Vec<f64> = (0..1000).step_by(37).map(|time| schedule.snr(time)).collect();
    close(snr.clone(), &part("snr").0, 1e-4);
    let objective = Objective { min_snr_gamma: Some(5.0), ..Objective::default() };
    for (prediction, name) in
        [(Prediction::Epsilon, "min_snr_epsilon"), (Prediction::Velocity, "min_snr_velocity")]
    {
        let weights = snr.iter().map(|snr| objective.weight(prediction, *snr));
        close(weights, &part(name).0, 1e-4);
    }
}

#[test]
fn other_weights_by_their_formulas() {
    let debiased = Objective { debiased: true, ..Objective::default() };
    assert_eq!(debiased.weight(Prediction::Epsilon, 4.0), 0.5);
    assert_eq!(debiased.weight(Prediction::Epsilon, 1e6), 1.0 / 1000f64.sqrt());
    assert_eq!(debiased.weight(Prediction::Velocity, 4.0), 0.2);
    assert_eq!(debiased.weight(Prediction::Velocity, 1e6), 1.0 / 1001.0);
    let scaled = Objective { scale_v_like_noise: true, ..Objective::default() };
    assert_eq!(scaled.weight(Prediction::Velocity, 4.0), 0.8);
    assert_eq!(scaled.weight(Prediction::Epsilon, 4.0), 1.0);
    let both = Objective { debiased: true, ..scaled };
    assert!((both.weight(Prediction::Velocity, 4.0) - 0.16).abs() < 1e-15);
}

#[test]
fn losses_by_their_formulas() {
    let device = Device::default();
    let schedule = NoiseSchedule::stable_diffusion();
    let tensor = |values: [f32; 4]| {
        Tensor::<4>::from_data(TensorData::new(values.to_vec(), [2, 1, 1, 2]), &device)
    };
    let (predicted, target) = (tensor([1.0, 0.0, 2.0, -1.0]), tensor([0.0, 0.0, -1.0, 1.0]));
    let times = [10, 900];
    // Differences: 1 and 0, then 3 and -2.
    type Formula = fn(f64, f64) -> f64;
    let cases: [(Loss, Formula); 4] = [
        (Loss::L2, |d, _| d * d),
        (Loss::L1, |d, _| d.abs()),
        (Loss::Huber, |d, c| 2.0 * c * ((d * d + c * c).sqrt() - c)),
        (Loss::SmoothL1, |d, c| 2.0 * ((d * d + c * c).sqrt() - c)),
    ];
    for kind in [HuberSchedule::Constant, HuberSchedule::Exponential, HuberSchedule::Snr] {
        for (loss, formula) in &cases {
            let objective = Objective {
                loss: *loss,
                huber_schedule: kind,
                huber_c: 0.2,
                ..Objective::default()
            };
            let c = times.map(|time| match kind {
                HuberSchedule::Constant => 0.2,
                HuberSchedule::Exponential => (0.2f64.ln() * time as f64 / 1000.0).exp(),
                HuberSchedule::Snr => {
                    let sigma = schedule.snr(time).powf(-0.5);
                    0.8 / (1.0 + sigma).powi(2) + 0.2
                }
            });
            let expected = [
                (formula(1.0, c[0]) + formula(0.0, c[0])) / 2.0,
                (formula(3.0, c[1]) + formula(-2.0, c[1])) / 2.0,
            ];
            let losses = |mask: Option<&Tensor<4>>| {
                let (predicted, target) = (predicted.clone(), target.clone());
                objective.losses(predicted, target, mask, &schedule, &times)
            };
            close(losses(None).into_data().iter::<f64>(), &expected, 1e-5);
            // A quarter of the first difference, half of the last.
            let mask = tensor([0.25, 1.0, 0.0, 0.5]);
            let expected = [
                (0.25 * formula(1.0, c[0]) + formula(0.0, c[0])) / 2.0,
                0.5 * formula(-2.0, c[1]) / 2.0,
            ];
            close(losses(Some(&mask)).into_data().iter::<f64>(), &expected, 1e-5);
        }
    }
}

#[test]
fn the_offset_moves_whole_channels() {
    let shape = [2, 3, 3];
    let latents: Vec<f32> = [vec![2.0; 9], vec![-1.0; 9]].concat();
    let noise = |objective: &Objective| objective.noise(&latents, shape, &mut stream(1, "t", 0));
    let plain = noise(&Objective::default());
    assert_eq!(plain, normal(18, &mut stream(1, "t", 0)));
    for (objective, sizes) in [
        (Objective { noise_offset: 0.1, ..Objective::default() }, [0.1, 0.1]),
        (Objective { adaptive_noise: 0.5, ..Objective::default() }, [1.0, 0.5]),
        (Objective { noise_offset: 0.1, adaptive_noise: 0.5, ..Objective::default() }, [1.1, 0.6]),
        (
            Objective { noise_offset: 0.1, noise_offset_random: true, ..Objective::default() },
            [0.1, 0.1],
        ),
    ] {
        let moved = noise(&objective);
        let difference: Vec<f32> = moved.iter().zip(&plain).map(|(a, b)| a - b).collect();
        let mut rng = stream(1, "t", 0);
        normal(18, &mut rng);
        let share: f64 = if objective.noise_offset_random { rng.random() } else { 1.0 };
        let sizes = sizes.map(|size: f64| (size * share) as f32);
        let xi = normal(2, &mut rng);
        for (channel, map) in difference.chunks(9).enumerate() {
            let expected = sizes[channel] * xi[channel];
            assert!(map.iter().all(|d| (d - expected).abs() < 1e-6), "{map:?} {expected}");
        }
    }
}

#[test]
fn noise_of_several_resolutions_has_unit_variance_and_large_areas() {
    let multires = Multires { iterations: 6, discount: 0.8 };
    let objective = Objective { multires: Some(multires), ..Objective::default() };
    let shape = [4, 32, 32];
    let noise = objective.noise(&[0.0; 4096], shape, &mut stream(3, "t", 0));
    // Σ 0.8ⁱ of noise of 32/rⁱ pixels a side, until that is one pixel, brought to unit variance.
    let mut rng = stream(3, "t", 0);
    let mut sum = normal(4096, &mut rng);
    for i in 0..6 {
        let r: f64 = rng.random_range(2.0..4.0);
        let side = ((32.0 / r.powi(i)).floor() as usize).max(1);
        let coarse = normal(4 * side * side, &mut rng);
        let maps = coarse.chunks(side * side).flat_map(|map| bilinear(map, [side; 2], [32; 2]));
        sum.iter_mut().zip(maps).for_each(|(n, coarse)| *n += 0.8f32.powi(i) * coarse);
        if side == 1 {
            break;
        }
    }
    let mean = sum.iter().sum::<f32>() / 4096.0;
    let variance = sum.iter().map(|n| (n - mean).powi(2)).sum::<f32>() / 4095.0;
    for (n, sum) in noise.iter().zip(&sum) {
        assert!((n - sum / variance.sqrt()).abs() < 1e-5, "{n} {}", sum / variance.sqrt());
    }
    // Neighbours of plain noise are independent: their mean product is 0 but for about 1/64.
    let neighbours =
        |noise: &[f32]| noise.chunks(2).map(|pair| pair[0] * pair[1]).sum::<f32>() / 2048.0;
    let plain = Objective::default().noise(&[0.0; 4096], shape, &mut stream(3, "t", 0));
    assert!(neighbours(&noise) > 0.2 && neighbours(&plain).abs() < 0.1);
}

#[test]
fn maps_are_enlarged_as_in_torch() {
    let (coarse, shape) = part("coarse");
    let coarse: Vec<f32> = coarse.iter().map(|x| *x as f32).collect();
    let found = bilinear(&coarse, [shape[0], shape[1]], [7, 9]);
    for (found, expected) in found.into_iter().zip(part("enlarged").0) {
        assert!((f64::from(found) - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn images_are_resized_as_in_pillow() {
    let (pixels, shape) = part("pixels");
    let rgb = pixels.iter().map(|x| *x as u8).collect();
    let pixels = Pixels { size: [shape[0], shape[1]], rgb };
    for name in ["smaller", "larger", "mixed"] {
        let (expected, shape) = part(name);
        let scaled = [shape[1], shape[0]];
        let fit = Fit { scaled, bucket: scaled };
        for mirrored in [false, true] {
            let found = fitted(&pixels, &fit.middle(mirrored), &Device::default());
            let found: Vec<f32> = found.permute([0, 2, 3, 1]).into_data().iter().collect();
            let width = scaled[0];
            for (at, value) in found.iter().enumerate() {
                let (row, x, c) = (at / 3 / width, at / 3 % width, at % 3);
                let x = if mirrored { width - 1 - x } else { x };
                let expected = expected[(row * width + x) * 3 + c];
                let off = (f64::from((value + 1.0) * 127.5) - expected).abs();
                assert!(off <= 1e-4, "{name} at {row}, {x}: off by {off}");
            }
        }
    }
}

/// Of a strip the rest would be hundreds of times as large.
#[test]
fn what_a_bucket_shows_is_that_part_of_the_whole() {
    let rgb = (0..5 * 300 * 3).map(|i| (i * 37 % 251) as u8).collect();
    let pixels = Pixels { size: [5, 300], rgb };
    let device = Device::default();
    let shown = |bucket| fitted(&pixels, &Fit { scaled: [480, 8], bucket }.middle(false), &device);
    let whole = shown([480, 8]).slice([0..1, 0..3, 0..8, 236..244]);
    assert_eq!(whole.into_data(), shown([8, 8]).into_data());
}

#[test]
fn files_are_decoded_as_by_pillow() {
    let entries = std::fs::read_dir(folder().join("images")).unwrap();
    let mut count = 0;
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if name.ends_with("jsonl") {
            continue;
        }
        let found = Pixels::read(&path).unwrap();
        let (expected, shape) = part(&format!("image.{name}"));
        assert_eq!(found.size.as_slice(), &shape[..2], "{name}");
        let off = found.rgb.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs());
        let off = off.max_by(f64::total_cmp).unwrap_or_default();
        // The formats that lose something leave the rounding to the decoder.
        let tolerance = if name.contains(".jp") || name.contains("lossy") { 4.0 } else { 0.0 };
        assert!(off <= tolerance, "{name}: off by {off}");
        count += 1;
    }
    assert_eq!(count, 7);
}

#[test]
fn rates_go_as_in_diffusers() {
    for (kind, name) in [
        (Kind::Linear, "schedule_linear"),
        (Kind::Cosine, "schedule_cosine"),
        (Kind::Polynomial, "schedule_polynomial"),
    ] {
        let schedule = Schedule { kind, power: 2.0, ..Schedule::default() };
        let expected = part(name).0;
        for (step, expected) in expected.iter().enumerate() {
            // diffusers' polynomial ends at 1e-7.
            let found = schedule.factor(step, 10);
            assert!((found - expected).abs() < 2e-7, "{name} {step}: {found} {expected}");
        }
    }
}
