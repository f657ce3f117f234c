//! What `train` sees of its data, what it says of it, and what it writes down.

use std::fs;

use serde_json::Value;

use super::{
    reference::write_pipeline,
    run::Desk,
    stops::{start, wait_for},
    train::{desk, image, losses},
};

fn reference(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/reference/images");
    fs::read(format!("{folder}/{name}")).unwrap()
}

fn metadata(desk: &Desk, run: &str, key: &str) -> String {
    let file = desk.open(&format!("{run}/lily.safetensors"));
    file.metadata().get(key).cloned().unwrap_or_default()
}

fn tags(desk: &Desk, run: &str) -> Value {
    serde_json::from_str(&metadata(desk, run, "ss_tag_frequency")).unwrap()
}

/// Three images, two batches a step.
#[test]
fn an_epoch_shows_every_image_once_whatever_a_step_takes() {
    let desk = desk();
    fs::remove_dir_all(desk.path("images/3_lily")).unwrap();
    image(&desk.path("images/c.png"), [48, 32]);
    desk.bytes("images/c.txt", b"rain");
    let recipe = fs::read_to_string(desk.path("run.toml")).unwrap();
    let recipe = recipe.replace("steps = 12\nbatch = 2", "epochs = 10\nbatch = 1");
    desk.bytes("run.toml", recipe.as_bytes());
    for (epochs, steps) in [(10, 15), (3, 5)] {
        let run = format!("train run.toml --overwrite --json --set train.epochs={epochs}");
        assert_eq!(desk.run(&run).json()["steps"], steps);
        let about = |key| metadata(&desk, "runs/run", key);
        assert_eq!(about("ss_num_epochs"), epochs.to_string());
        assert_eq!(about("ss_num_batches_per_epoch"), "3");
        assert_eq!(about("ss_steps"), steps.to_string());
        assert_eq!(about("ss_max_train_steps"), steps.to_string());
    }
    // The last of the five steps has the ninth batch alone: with one batch a step it is the ninth.
    let plain = "--set train.epochs=3 --set train.schedule={kind='constant'} --set train.rate=1e-9";
    desk.run(&format!("train run.toml -o two {plain}")).succeeds();
    desk.run(&format!("train run.toml -o one {plain} --set train.accumulation=1")).succeeds();
    let [two, one] = ["two", "one"].map(|run| losses(&desk, run));
    assert_eq!((two.len(), one.len()), (5, 9));
    for (step, loss) in two.iter().enumerate() {
        let batches = &one[2 * step..(2 * step + 2).min(9)];
        let mean = batches.iter().sum::<f64>() / batches.len() as f64;
        assert!((loss / mean - 1.0).abs() < 1e-4, "{step}: {loss} {mean}");
    }
}

#[test]
fn tags_are_those_of_the_texts_that_are_trained_on() {
    let desk = desk();
    desk.bytes("images/a.txt", b"1girl ||| standing, Red\nnot seen");
    desk.bytes("images/b.txt", b"{wet|dry} lily, tall");
    let captions =
        "--set data.captions={prefix='sks',keep_separator='|||',shuffle=true,dropout=0.5}";
    desk.run(&format!("train run.toml --set train.steps=1 {captions}")).succeeds();
    let expected: Value = serde_json::json!({
        "3_lily": { "sks lily": 1 },
        "images": { "sks 1girl": 1, "standing": 1, "red": 1, "sks {wet|dry} lily": 1, "tall": 1 },
    });
    assert_eq!(tags(&desk, "runs/run"), expected);
    let captions = "--set data.captions={wildcards=true}";
    desk.run(&format!("train run.toml -o wild --set train.steps=1 {captions}")).succeeds();
    let expected: Value = serde_json::json!({
        "3_lily": { "lily": 1 },
        "images": {
            "1girl ||| standing": 1, "red": 1, "not seen": 1, "wet lily": 1, "dry lily": 1, "tall": 1,
        },
    });
    assert_eq!(tags(&desk, "wild"), expected);
}

#[test]
fn what_is_done_to_images_and_captions_is_said_before_the_start() {
    let desk = desk();
    desk.bytes("images/d.webp", &reference("exif.webp"));
    desk.bytes("images/d.caption", "a b ".repeat(50).as_bytes());
    desk.bytes("images/e.avif", b"x");
    desk.bytes("images/a.txt", b"a red lily\nin rain");
    let run = desk.run("train run.toml --json --set train.steps=1");
    let notes = [
        "1 image is turned as EXIF says that the camera was held (images/d.webp)",
        "1 image has transparent parts, which count as opaque; set data.backgrounds (images/d.webp)",
        "1 image is passed over: no decoder; save as PNG, JPEG or WebP (images/e.avif)",
        "1 caption is the first line of a file, 1 more dropped; captions.wildcards takes any of them \
         (images/a.txt)",
        "1 caption is cut at 75 tokens; raise data.chunks (images/d.webp)",
    ];
    let result = run.json();
    assert_eq!(result["notes"], serde_json::json!(notes));
    assert_eq!(result["images"], 4);
    let said = notes.map(|note| format!("note: {note}\n")).concat();
    assert!(run.err().contains(&said), "{}", run.err());
    // Two chunks hold a hundred tokens.
    let run = desk.run("train run.toml -o long --json --set train.steps=1 --set data.chunks=2");
    assert_eq!(run.json()["notes"].as_array().unwrap().len(), 4);

    let generate = "generate --model model --prompt lily --steps 1 --strength 1.0 --image";
    let run = desk.run(&format!("{generate} images/d.webp -o d.png"));
    // 24x16, turned by 90 degrees.
    assert!(run.succeeds().starts_with("d.png: 1 of 16x24"), "{}", run.out());
    assert!(run.err().contains("note: images/d.webp: is turned as EXIF says"), "{}", run.err());
    assert!(run.err().contains("note: images/d.webp: has transparent parts"), "{}", run.err());
}

/// Parts, backgrounds and masks follow from the number of a sample, as all else does.
#[test]
fn what_is_drawn_of_images_is_drawn_again_after_a_kill() {
    let desk = desk();
    desk.bytes("images/d.webp", &reference("exif.webp"));
    desk.bytes("images/d.txt", b"lily");
    let colours = "[{name='white',colour='#ffffff',weight=2},{name='red',colour='#e03030'}]";
    let train = format!(
        "train run.toml --set train.steps=40 --set data.alpha_mask=true \
         --set data.concepts.0.random_crop=true --set data.backgrounds.colours={colours} \
         --set data.backgrounds.caption={{caption}},{{background}}"
    );
    desk.run(&format!("{train} -o whole")).succeeds();
    let mut child = start(&desk, &format!("{train} -o killed"));
    wait_for(&desk, "killed", 5, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    desk.run(&format!("{train} -o killed --resume")).succeeds();
    for file in ["lily.safetensors", "metrics.jsonl"] {
        let [killed, whole] =
            ["killed", "whole"].map(|run| fs::read(desk.path(run).join(file)).unwrap());
        assert!(killed == whole, "{file}");
    }
    let seen = tags(&desk, "whole");
    assert_eq!(seen["images"]["white"], 1);
    assert_eq!(seen["images"]["red"], 1);
    // Each of the three changes the training.
    for set in [
        "data.alpha_mask=false",
        "data.concepts.0.random_crop=false",
        "data.backgrounds.colours.1.colour='#30e030'",
    ] {
        desk.run(&format!("{train} --set {set} -o other --overwrite")).succeeds();
        assert_ne!(losses(&desk, "other"), losses(&desk, "whole"), "{set}");
    }
}

#[test]
fn the_average_warms_up_unless_it_is_told_not_to() {
    let desk = desk();
    let norm = |set: &str| {
        let lora = "--set adapter.algorithm=lora --set train.ema=0.9999";
        let run = format!("train run.toml --overwrite {lora} {set}");
        desk.run(&run).succeeds();
        let file = desk.open("runs/run/lily.safetensors");
        // What starts from zero.
        let keys = file.names().iter().filter(|key| key.ends_with(".lora_up.weight"));
        let values = keys.flat_map(|key| file.read(key).unwrap().iter::<f64>().collect::<Vec<_>>());
        values.map(|x| x * x).sum::<f64>().sqrt()
    };
    let [warm, said, cold] = ["", "true", "false"].map(|it| match it {
        "" => norm(""),
        it => norm(&format!("--set train.ema_warmup={it}")),
    });
    assert_eq!(warm, said);
    assert!(warm > 0.0 && cold < 0.01 * warm, "{warm} {cold}");
}

#[test]
fn data_that_cannot_be_is_refused_by_the_key() {
    let desk = Desk::new();
    write_pipeline("sd", &desk.path("model"));
    let recipe = "model = 'model'\n[adapter]\nalgorithm = 'lora'\n[data]\nresolution = 32\n\
                  concepts = [{ folder = 'images' }]\n[train]\nsteps = 1\nrate = 1e-3\n";
    desk.bytes("run.toml", recipe.as_bytes());
    image(&desk.path("images/a.png"), [32, 32]);
    for (set, expected) in [
        ("train.ema_warmup=true", "run.toml: train.ema_warmup: there is no train.ema"),
        (
            "data.buckets={step=8}",
            "run.toml: data.buckets.min: is 256; give 32 at most, the resolution",
        ),
        (
            "data.buckets={min=16,max=24,step=8}",
            "run.toml: data.buckets.max: is 24; give 32 at least, the resolution",
        ),
        ("data.backgrounds={colours=[]}", "run.toml: data.backgrounds.colours: there are none"),
        (
            "data.backgrounds={colours=[{colour='red'}]}",
            "\"red\" is no colour; give #rrggbb, as #ff8800",
        ),
        (
            "data.backgrounds={colours=[{colour='#ffffff',weight=0}]}",
            "run.toml: data.backgrounds.colours.0.weight: is 0; give a number above 0",
        ),
        (
            "data.backgrounds={caption='{caption},{colour}',colours=[{colour='#ffffff'}]}",
            "data.backgrounds.caption: is \"{caption},{colour}\"; give {caption}, and {background}",
        ),
        (
            "data.backgrounds={caption='{caption},{background}',colours=[{colour='#ffffff'}]}",
            "data.backgrounds.colours.0.name: is what {background} stands for",
        ),
    ] {
        let error = desk.refusal(&format!("train run.toml --set {set}"));
        assert!(error.contains(expected), "{set}: {error}");
    }
}
