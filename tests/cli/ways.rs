//! `train` in other ways: with less memory, in half precision, with regularisers, on a larger model, from
//! other files.

use higanbana_diffusion::pipeline::Pixels;
use higanbana_io::{Checkpoint, Dtype};

use super::{
    reference::write_pipeline,
    run::Desk,
    train::{desk, losses},
};

/// The recipe's last adapter, after a training with other values.
fn trained(desk: &Desk, folder: &str, values: &str) -> Checkpoint {
    desk.run(&format!("train run.toml -o {folder} {values}")).succeeds();
    desk.open(&format!("{folder}/lily.safetensors"))
}

fn matrices<'a>(file: &'a Checkpoint, stem: &'a str) -> impl Iterator<Item = [Vec<f64>; 2]> + 'a {
    let modules = file.names().iter().filter_map(move |key| key.strip_suffix(stem));
    modules.map(|module| {
        ["lora_up", "lora_down"].map(|name| {
            file.read(&format!("{module}{name}.weight")).unwrap().iter::<f64>().collect()
        })
    })
}

/// Up to the order in which gradients are added up; what is drawn is the same.
#[test]
fn less_memory_is_the_same_training() {
    let desk = desk();
    trained(&desk, "all", "");
    trained(&desk, "less", "--set train.gradient_checkpointing=true");
    let [all, less] = ["all", "less"].map(|folder| losses(&desk, folder));
    assert_eq!(all[0], less[0]);
    let off = all
        .iter()
        .zip(&less)
        .map(|(a, b)| (a / b - 1.0).abs())
        .max_by(f64::total_cmp)
        .unwrap_or_default();
    assert!(off < 1e-5, "{all:?} {less:?}");
}

#[test]
fn half_precision_trains_adapters_of_single_precision() {
    let desk = desk();
    let common = "--set sample.every=12 --set sample.steps=2 --set sample.prompts=['lily'] --set train.rate=1e-3";
    trained(&desk, "single", common);
    let single = losses(&desk, "single");
    for (dtype, rounding) in [("f16", 1.0 / 2048.0), ("bf16", 1.0 / 256.0)] {
        let file = trained(&desk, dtype, &format!("{common} --set train.dtype={dtype}"));
        for name in file.names() {
            assert_eq!(file.info(name).unwrap().dtype, Dtype::F32, "{name}");
        }
        for (half, single) in losses(&desk, dtype).into_iter().zip(&single) {
            let off = (half / single - 1.0).abs();
            assert!(off > 0.0 && off < 20.0 * rounding, "{dtype}: {half} {single}");
        }
    }
    assert!(desk.refusal("train run.toml --set train.dtype=f8").contains("unknown variant `f8`"));
}

/// ‖PᵀP − I‖² of every layer, added up.
fn departure(file: &Checkpoint) -> f64 {
    let mut total = 0.0;
    for name in file.names().iter().filter(|name| name.ends_with(".p_layer.weight")) {
        let shape = &file.info(name).unwrap().shape;
        let (out, r) = (shape[0], shape[1]);
        let p: Vec<f64> = file.read(name).unwrap().iter().collect();
        for i in 0..r {
            for j in 0..r {
                let dot: f64 = (0..out).map(|row| p[row * r + i] * p[row * r + j]).sum();
                total += (dot - f64::from(u8::from(i == j))).powi(2);
            }
        }
    }
    total
}

#[test]
fn factors_are_kept_orthogonal_where_they_are_meant_to_be() {
    let desk = desk();
    let common = "--set adapter.algorithm=tlora --set adapter.options={rank=2} --set train.ema=0.0";
    let [free, kept] = [0.0, 10.0].map(|weight| {
        let values = format!("{common} --set objective.orthogonality={weight:?}");
        departure(&trained(&desk, &format!("weight-{weight}"), &values))
    });
    assert!(kept < free / 2.0, "{kept} {free}");
    let error = desk.refusal("train run.toml -o new --set objective.orthogonality=1");
    let expected =
        "objective.orthogonality: lokr has no factors that are meant to be orthogonal at unet.";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn updates_keep_within_their_norm() {
    let desk = desk();
    let common =
        "--set adapter.algorithm=lora --set adapter.text_encoder=false --set train.ema=0.0";
    let norms = |folder: &str, options: &str| -> Vec<f64> {
        let options = format!("{common} --set adapter.options={{rank=2,alpha=1.0{options}}}");
        let file = trained(&desk, folder, &options);
        // ‖(1/2) B A‖, row by row.
        let norm = |[up, down]: [Vec<f64>; 2]| {
            let columns = down.len() / 2;
            let entry =
                |row: &[f64], c: usize| 0.5 * (row[0] * down[c] + row[1] * down[columns + c]);
            let squares = up.chunks(2).flat_map(|row| (0..columns).map(|c| entry(row, c).powi(2)));
            squares.sum::<f64>().sqrt()
        };
        matrices(&file, "lora_up.weight").map(norm).collect()
    };
    let free = norms("free", "");
    let bound = free.iter().sum::<f64>() / free.len() as f64;
    let kept = norms("kept", &format!(",max_norm={bound}"));
    assert!(kept.iter().all(|norm| *norm < bound * (1.0 + 1e-5)), "{bound} {kept:?}");
    assert!(kept.iter().any(|norm| *norm > bound * (1.0 - 1e-5)), "{bound} {kept:?}");
    let error = desk.refusal(
        "train run.toml -o new --set adapter.algorithm=tlora --set adapter.options={rank=2,max_norm=1.0}",
    );
    assert!(error.contains("max_norm") && error.contains("tlora"), "{error}");
}

#[test]
fn the_model_of_two_encoders_is_trained_too() {
    let desk = desk();
    write_pipeline("sdxl", &desk.path("xl"));
    let values =
        "--set model=xl --set sample.every=12 --set sample.steps=2 --set sample.prompts=['lily']";
    let file = trained(&desk, "xl-run", values);
    for prefix in ["lora_unet_", "lora_te1_", "lora_te2_"] {
        assert!(file.names().iter().any(|key| key.starts_with(prefix)), "{prefix}");
    }
    let architecture = &file.metadata()["modelspec.architecture"];
    assert_eq!(architecture, "stable-diffusion-xl-v1-base/lora");
    let losses = losses(&desk, "xl-run");
    assert!(losses.iter().all(|loss| loss.is_finite()) && losses.len() == 12);

    // The last row of the contact sheet is what the file makes.
    let generate =
        "generate --model xl --prompt lily --steps 2 --guidance 7.5 --seed 0 -o lily.png";
    desk.run(&format!("{generate} --adapter xl-run/lily.safetensors")).succeeds();
    let [sheet, image] = ["xl-run/samples/step-00000012.png", "lily.png"]
        .map(|name| Pixels::read(&desk.path(name)).unwrap());
    assert_eq!(sheet.size, image.size);
    let most = sheet.rgb.iter().zip(&image.rgb).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(most <= Some(1), "{most:?}");
}

#[test]
fn jpeg_webp_and_lists_of_captions_are_trained_on() {
    let desk = desk();
    let images = super::reference::folder("../training/images").display().to_string();
    let values =
        format!("--set data.concepts=[{{folder='{images}',repeats=2}}] --set train.batch=1");
    let file = trained(&desk, "formats", &values);
    let about = |key: &str| file.metadata()[key].as_str();
    assert_eq!(about("ss_num_train_images"), "14");
    assert_eq!(about("ss_num_batches_per_epoch"), "14");
    assert!(about("ss_tag_frequency").contains(r#""a lily":4"#), "{}", about("ss_tag_frequency"));
}
