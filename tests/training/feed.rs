//! From folders to batches: which images, how often, with which texts, sizes, weights and targets.

use std::{fs, path::Path};

use burn::tensor::{DType, Device, Tensor, TensorData};
use higanbana_diffusion::{
    Pipeline,
    pipeline::{Pixels, png},
};
use higanbana_train::{
    Recipe, TrainError,
    feed::{Draw, Feed},
    network::{Batch, Network},
    objective::{Objective, Predicted, noise::normal},
    random::stream,
    task::Task,
    weights,
};
use rand::RngExt;
use tempfile::TempDir;

use super::{
    parts::folder,
    reference::{deviation, pipeline_folder},
};

const RECIPE: &str = r#"
    model = "model"
    adapter = { algorithm = "lora" }
    data = { resolution = 32, concepts = [{ folder = "images" }] }
    train = { steps = 1, rate = 1e-3 }
"#;

/// A folder of images, `name height width` each, with the name as the caption.
pub fn images(list: &[(&str, usize, usize)]) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    for (name, height, width) in list {
        let pixels: Vec<u8> = (0..height * width * 3).map(|i| (i * 7 % 251) as u8).collect();
        let path = temp.path().join(format!("{name}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, png([*height, *width], &pixels, "").unwrap()).unwrap();
        let caption = path.file_stem().unwrap().to_str().unwrap();
        fs::write(path.with_extension("txt"), caption).unwrap();
    }
    temp
}

/// What a recipe asks for, with lines over those above, of a model and a folder.
pub struct Desk {
    pub pipeline: Pipeline,
    pub task: Task,
    pub feed: Feed,
    pub network: Network,
    _model: TempDir,
}

impl Desk {
    pub fn new(
        case: &str,
        images: &Path,
        change: impl Fn(&mut Recipe),
    ) -> Result<Self, TrainError> {
        let mut recipe: Recipe = toml::from_str(RECIPE).unwrap();
        recipe.data.concepts[0].folder = images.into();
        change(&mut recipe);
        let model = pipeline_folder(case);
        let pipeline = Pipeline::read(model.path(), &Device::default(), DType::F32).unwrap();
        let task = Task::new(&recipe, &pipeline)?;
        let mut feed = Feed::new(&recipe.data, &recipe.data.concepts, false)?;
        feed.prepare(&pipeline, &mut |_, _| ())?;
        let registry = higanbana_adapters::registry();
        let adapter = recipe.adapter.as_ref().expect("the recipe has an adapter");
        let network = Network::adapted(&pipeline, adapter, &adapter.preset()?, &registry, 0)?;
        Ok(Self { pipeline, task, feed, network, _model: model })
    }

    /// The images of these names at the same times.
    fn batch(&mut self, names: &[&str], times: &[usize]) -> Batch {
        let draw = Draw { seed: 3, first: 0, plain: false };
        let pictures = &self.feed.pictures;
        let index = |name: &&str| pictures.iter().position(|it| it.caption == *name).unwrap();
        let indices: Vec<usize> = names.iter().map(index).collect();
        let (task, pipeline, network) = (&self.task, &self.pipeline, &self.network);
        self.feed.batch(&indices, times, draw, task, pipeline, network).unwrap()
    }

    /// What the frozen model predicts of a batch.
    fn frozen(&self, batch: &Batch) -> Vec<f32> {
        let times: Vec<f32> = batch.times.iter().map(|time| *time as f32).collect();
        let times = Tensor::<1>::from_floats(times.as_slice(), &self.pipeline.device);
        let (noisy, context) = (batch.noisy.clone().inner(), batch.context.clone().inner());
        values(self.pipeline.unet.forward(noisy, times, context, None))
    }
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter().collect()
}

#[test]
fn what_the_model_sees_and_is_to_tell_written_out() {
    let images = images(&[("a", 32, 32)]);
    // Running products of 1 - β, with √β from √0.00085 to √0.012 in equal steps.
    let root = |i: usize| {
        let [first, last] = [0.00085f64, 0.012].map(f64::sqrt);
        first + (last - first) * i as f64 / 999.0
    };
    let alpha = |time: usize| (0..=time).map(|i| 1.0 - root(i).powi(2)).product::<f64>();
    // Brought to 0 at the last time.
    let ending = |time: usize| {
        let [first, last, here] = [0, 999, time].map(|time| alpha(time).sqrt());
        ((here - last) * first / (first - last)).powi(2)
    };
    let velocity = Some(Predicted::Velocity);
    let plain = Objective::default();
    for (objective, velocity, zero) in [
        (plain.clone(), false, false),
        (Objective { input_perturbation: 0.5, ..plain.clone() }, false, false),
        (Objective { prediction: velocity, ..plain.clone() }, true, false),
        (Objective { prediction: velocity, zero_terminal_snr: true, ..plain }, true, true),
    ] {
        let mut desk =
            Desk::new("sd", images.path(), |it| it.objective = objective.clone()).unwrap();
        for time in [3, 500, 999] {
            let batch = desk.batch(&["a"], &[time]);
            let mut rng = stream(3, "sample", 0);
            rng.random_bool(0.5);
            let [latent, noise, more] = [(); 3].map(|()| normal(256, &mut rng));
            let image = Pixels::read(&images.path().join("a.png")).unwrap();
            let posterior = desk.pipeline.posterior(image.tensor(&desk.pipeline.device), None);
            let [mean, variance] = [posterior.mean, posterior.logvar].map(values);
            let alpha = if zero { ending(time) } else { alpha(time) };
            let [signal, rest] = [alpha.sqrt(), (1.0 - alpha).sqrt()];
            let share = objective.input_perturbation;
            let [noisy, target] = [batch.noisy, batch.target].map(values);
            for i in 0..256 {
                let [latent, n, more, mean, variance] =
                    [latent[i], noise[i], more[i], mean[i], variance[i]].map(f64::from);
                let z = (mean + (0.5 * variance).exp() * latent) * 0.18215;
                let seen = signal * z + rest * (n + share * more);
                let told = if velocity { signal * n - rest * z } else { n };
                assert!((f64::from(noisy[i]) - seen).abs() < 1e-4, "{time}: {} {seen}", noisy[i]);
                assert!((f64::from(target[i]) - told).abs() < 1e-4, "{time}: {} {told}", target[i]);
            }
        }
    }
}

#[test]
fn the_model_of_two_encoders_is_told_sizes_and_a_pooled_text() {
    let images = images(&[("tall", 60, 32), ("wide", 32, 96)]);
    let mut desk = Desk::new("sdxl", images.path(), |_| ()).unwrap();
    let batch = desk.batch(&["tall", "wide"], &[500, 20]);
    let added = batch.added.as_ref().unwrap();
    // Height and width, top and left of the part that is seen, height and width of that.
    let expected =
        [[60.0, 32.0, 14.0, 0.0, 32.0, 32.0], [32.0, 96.0, 0.0, 32.0, 32.0, 32.0]].concat();
    assert_eq!(values(added.time_ids.clone()), expected);
    let positive = desk.pipeline.encode(&[("wide", 0)]).unwrap().swap_remove(0);
    let second = |all: Vec<f32>| all[all.len() / 2..].to_vec();
    assert!(deviation(&values(positive.context), &second(values(batch.context.clone()))) < 1e-6);
    assert!(deviation(&values(positive.pooled), &second(values(added.text_embeds.clone()))) < 1e-6);
    assert_eq!(batch.context.dims()[2], 40);
}

#[test]
fn images_of_the_class_are_as_many_as_the_others_and_have_a_weight() {
    let images = images(&[("own/a", 32, 32), ("own/b", 32, 32), ("class/c", 32, 32)]);
    let mut desk = Desk::new("sd", images.path(), |recipe| {
        let mut class = recipe.data.concepts[0].clone();
        recipe.data.concepts[0].folder = images.path().join("own");
        recipe.data.concepts[0].repeats = 3;
        class.folder = images.path().join("class");
        class.regularisation = true;
        recipe.data.concepts.push(class);
        recipe.objective.prior_weight = 0.25;
    })
    .unwrap();
    let mut order = desk.feed.order(0, 1);
    let captions = (0..order.batches()).map(|number| order.batch(number)[0]);
    let mut captions: Vec<&str> =
        captions.map(|index| &desk.feed.pictures[index].caption[..]).collect();
    captions.sort_unstable();
    assert_eq!(captions.concat(), "aaabbbcccccc");

    let batch = desk.batch(&["a", "c"], &[500, 500]);
    let Task { objective, schedule, prediction } = &desk.task;
    let losses = values(desk.network.losses(&batch, objective, schedule, *prediction));
    // New adapters change nothing.
    let squares =
        desk.frozen(&batch).into_iter().zip(values(batch.target)).map(|(a, b)| (a - b).powi(2));
    let squares: Vec<f32> = squares.collect();
    for (sample, weight) in [1.0, 0.25].into_iter().enumerate() {
        let own = &squares[sample * 256..(sample + 1) * 256];
        let expected = weight * own.iter().sum::<f32>() / 256.0;
        assert!((losses[sample] / expected - 1.0).abs() < 1e-4, "{losses:?} {expected}");
    }
}

#[test]
fn images_of_the_class_may_be_kept_to_what_the_frozen_model_says() {
    let images = images(&[("own/a", 32, 32), ("class/c", 32, 32)]);
    let desk = |preserve, text_encoder| {
        Desk::new("sd", images.path(), |recipe| {
            recipe.adapter.as_mut().unwrap().text_encoder = text_encoder;
            let mut class = recipe.data.concepts[0].clone();
            recipe.data.concepts[0].folder = images.path().join("own");
            class.folder = images.path().join("class");
            class.regularisation = true;
            recipe.data.concepts.push(class);
            recipe.objective.preserve_output = preserve;
        })
        .unwrap()
    };
    let plain = values(desk(false, false).batch(&["a", "c"], &[500, 400]).target);
    let mut trained = desk(true, true);
    let mut desk = desk(true, false);
    let batch = desk.batch(&["a", "c"], &[500, 400]);
    let target = values(batch.target.clone());
    assert_eq!(target[..256], plain[..256]);
    assert!(deviation(&desk.frozen(&batch)[256..], &target[256..]) < 1e-5);
    assert!(deviation(&plain[256..], &target[256..]) > 0.1);

    // The frozen model has text encoders of its own, whatever becomes of those that are trained.
    let mut moved = weights::read(&trained.network);
    for data in moved.values_mut() {
        *data = TensorData::new(vec![0.5f32; data.num_elements()], data.shape().clone());
    }
    trained.network = weights::write(trained.network, &moved);
    let moved = trained.batch(&["a", "c"], &[500, 400]);
    assert!(deviation(&values(moved.context), &values(batch.context)) > 0.01);
    assert_eq!(values(moved.target), target);
}

#[test]
fn folders_of_repeats_and_lists_of_captions_are_read() {
    let temp = images(&[("3_a lily/one", 32, 32), ("10_rain/two", 32, 32), ("three", 32, 32)]);
    fs::remove_file(temp.path().join("3_a lily/one.txt")).unwrap();
    let desk = Desk::new("sd", temp.path(), |recipe| recipe.data.concepts[0].repeats = 2).unwrap();
    let found = desk.feed.pictures.iter().map(|it| (&it.caption[..], it.repeats));
    let mut found: Vec<_> = found.collect();
    found.sort_unstable();
    // Without a text the name of the folder is the caption.
    assert_eq!(found, [("a lily", 6), ("three", 2), ("two", 20)]);

    let listed = Desk::new("sd", &folder().join("images"), |_| ()).unwrap();
    let captions: Vec<_> = listed.feed.pictures.iter().map(|it| &it.caption[..]).collect();
    assert_eq!(captions.len(), 7);
    assert!(captions.contains(&"a lily in colour"), "{captions:?}");

    // What counts 0 times, or is hidden, has no part; a date is no number of times.
    fs::rename(temp.path().join("10_rain"), temp.path().join("0_rain")).unwrap();
    fs::write(temp.path().join("._three.png"), "").unwrap();
    let desk = Desk::new("sd", temp.path(), |_| ()).unwrap();
    assert_eq!(desk.feed.pictures.len(), 2);
    fs::rename(temp.path().join("0_rain"), temp.path().join("20261126_rain")).unwrap();
    let error = Desk::new("sd", temp.path(), |_| ()).err().unwrap().to_string();
    assert!(
        error.ends_with("20261126_rain: counts 20261126 times by its name; 10000 at most"),
        "{error}"
    );
    fs::remove_dir_all(temp.path().join("20261126_rain")).unwrap();

    // What is listed and not there, and what is there and not listed, is told before anything runs.
    let line = r#"{"file_name": "gone.png", "text": "nothing"}"#;
    fs::write(temp.path().join("metadata.jsonl"), line).unwrap();
    let error = Desk::new("sd", temp.path(), |_| ()).err().unwrap().to_string();
    assert!(error.contains("gone.png: cannot be read"), "{error}");
    fs::write(temp.path().join("metadata.jsonl"), "{}\n").unwrap();
    let error = Desk::new("sd", temp.path(), |_| ()).err().unwrap().to_string();
    assert!(error.contains(r#"metadata.jsonl: line 1 is not {"file_name""#), "{error}");
}
