//! What samples show and say: parts of images, colours behind them, and how much each place counts.

use std::{collections::BTreeSet, fs};

use higanbana_diffusion::pipeline::{ImageFile, Pixels};
use higanbana_train::{
    data::{
        Backgrounds,
        bucket::{Fit, View, cover},
        resample::{fitted, resized},
    },
    feed::Draw,
    network::Batch,
    objective::noise::normal,
    random::stream,
};
use rand::RngExt;
use tempfile::TempDir;

use super::{
    feed::{Desk, images, values},
    reference::deviation,
};

const TIME: usize = 300;
const SEED: u64 = 3;

fn batch(desk: &mut Desk, index: usize, first: u64, plain: bool) -> Batch {
    let draw = Draw { seed: SEED, first, plain };
    let (task, pipeline, network) = (&desk.task, &desk.pipeline, &desk.network);
    desk.feed.batch(&[index], &[TIME], draw, task, pipeline, network).unwrap()
}

/// The latents with noise of a sample that shows this view of these pixels, written out.
fn noisy(desk: &Desk, pixels: &Pixels, view: &View, number: u64) -> Vec<f32> {
    let mut rng = stream(SEED, "sample", number);
    rng.random_bool(0.5);
    let [latent, noise] = [(); 2].map(|()| normal(256, &mut rng));
    let image = fitted(pixels, view, &desk.pipeline.device);
    let posterior = desk.pipeline.posterior(image, None);
    let [mean, variance] = [posterior.mean, posterior.logvar].map(values);
    let alpha = desk.task.schedule.alpha(TIME);
    let [signal, rest] = [alpha.sqrt() as f32, (1.0 - alpha).sqrt() as f32];
    let z = |i: usize| (mean[i] + (0.5 * variance[i]).exp() * latent[i]) * 0.18215;
    (0..256).map(|i| signal * z(i) + rest * noise[i]).collect()
}

/// An image of 24x16 that is more and more opaque to the right, beside an opaque one.
fn transparent() -> TempDir {
    let folder = images(&[("opaque", 32, 32)]);
    let image = include_bytes!("../reference/images/grey.png");
    fs::write(folder.path().join("clear.png"), image).unwrap();
    fs::write(folder.path().join("clear.txt"), "a lily").unwrap();
    folder
}

fn backgrounds() -> Backgrounds {
    toml::from_str(
        r##"
        caption = "{caption} on {background} background"
        colours = [
            { name = "white", colour = "#ffffff", weight = 2.0 },
            { name = "red", colour = "#e03030" },
            { name = "blue", colour = "#3050e0" },
        ]"##,
    )
    .unwrap()
}

#[test]
fn each_sample_has_a_colour_behind_it_and_says_so() {
    let folder = transparent();
    let all = backgrounds();
    let mut desk =
        Desk::new("sd", folder.path(), |it| it.data.backgrounds = Some(all.clone())).unwrap();
    assert!(desk.feed.pictures[0].transparent && !desk.feed.pictures[1].transparent);
    assert!(desk.feed.notes.lines().is_empty());
    let expected = ["white", "red", "blue"].map(|it| format!("a lily on {it} background"));
    assert_eq!(desk.feed.texts_of(0), expected);
    assert_eq!(desk.feed.texts_of(1), ["opaque"]);

    let file = ImageFile::read(&folder.path().join("clear.png")).unwrap();
    let view = cover([24, 16], [32, 32]).middle(false);
    let mut seen = BTreeSet::new();
    for (number, plain) in (0..16).map(|number| (number, false)).chain([(17, true)]) {
        let colour = if plain { 0 } else { all.draw(SEED, number) };
        seen.insert(colour);
        let mut pixels = file.pixels.clone();
        all.colours[colour].colour.put_behind(&mut pixels.rgb, file.alpha.as_ref().unwrap());
        let found = batch(&mut desk, 0, number, plain);
        let expected = noisy(&desk, &pixels, &view, number);
        assert!(deviation(&values(found.noisy), &expected) < 1e-5, "{number}");
        let text = format!("a lily on {} background", all.colours[colour].name);
        let text = desk.pipeline.encode(&[(&text[..], 0)]).unwrap().swap_remove(0);
        assert!(deviation(&values(found.context), &values(text.context)) < 1e-6, "{number}");
    }
    assert_eq!(seen.len(), 3, "all colours");

    // A text that is left out does not tell of it either.
    let mut desk = Desk::new("sd", folder.path(), |it| {
        it.data.backgrounds = Some(backgrounds());
        it.data.captions.dropout = 1.0;
    })
    .unwrap();
    let found = batch(&mut desk, 0, 0, false);
    let nothing = desk.pipeline.encode(&[("", 0)]).unwrap().swap_remove(0);
    assert!(deviation(&values(found.context), &values(nothing.context)) < 1e-6);
}

#[test]
fn colours_that_files_hide_are_told_of() {
    let folder = transparent();
    let desk = Desk::new("sd", folder.path(), |_| ()).unwrap();
    let notes = desk.feed.notes.lines();
    let expected = "1 image has transparent parts, which count as opaque; set data.backgrounds (";
    assert!(notes[0].starts_with(expected), "{notes:?}");
}

#[test]
fn places_count_as_far_as_the_image_is_opaque() {
    let folder = transparent();
    let mut desk = Desk::new("sd", folder.path(), |it| it.data.alpha_mask = true).unwrap();
    let file = ImageFile::read(&folder.path().join("clear.png")).unwrap();
    let view = cover([24, 16], [32, 32]).middle(false);
    let alpha = resized::<1>(&file.alpha.unwrap(), [16, 24], &view);
    let mask = values(batch(&mut desk, 0, 0, false).mask.unwrap());
    for (place, found) in mask.iter().enumerate() {
        // Four pixels a side behind each of the latents.
        let (top, left) = (place / 8 * 4, place % 8 * 4);
        let block = (top..top + 4).flat_map(|y| &alpha[y * 32 + left..][..4]);
        let expected = block.map(|it| f32::from(*it)).sum::<f32>() / 16.0 / 255.0;
        assert!((found - expected).abs() < 1e-6, "{place}: {found} {expected}");
    }
    assert!(mask.windows(2).take(7).all(|pair| pair[0] < pair[1]), "{mask:?}");
    assert_eq!(values(batch(&mut desk, 1, 0, false).mask.unwrap()), [1.0; 64]);
    let mut plain = Desk::new("sd", folder.path(), |_| ()).unwrap();
    assert!(batch(&mut plain, 0, 0, false).mask.is_none());
}

#[test]
fn another_part_is_seen_each_time() {
    let folder = images(&[("wide", 32, 96)]);
    let mut desk =
        Desk::new("sd", folder.path(), |it| it.data.concepts[0].random_crop = true).unwrap();
    let pixels = Pixels::read(&folder.path().join("wide.png")).unwrap();
    let fit = Fit { scaled: [96, 32], bucket: [32, 32] };
    let mut lefts = BTreeSet::new();
    for number in 0..6 {
        let mut rng = stream(SEED, "crop", number);
        let corner = [64, 0].map(|room| rng.random_range(0..=room));
        lefts.insert(corner[0]);
        let view = View { fit, corner, mirrored: false };
        let found = values(batch(&mut desk, 0, number, false).noisy);
        assert!(deviation(&found, &noisy(&desk, &pixels, &view, number)) < 1e-5, "{number}");
    }
    assert!(lefts.len() > 3, "{lefts:?}");
    let found = values(batch(&mut desk, 0, 0, true).noisy);
    assert!(deviation(&found, &noisy(&desk, &pixels, &fit.middle(false), 0)) < 1e-5);
}
