//! What of two checkpoints goes into the file, under which names, and what does not.

use super::*;

const RANK: Budget = Budget::Rank(2);

/// A model with everything that a layer can have, and its copy with every tensor moved.
fn models(files: &Files) -> [PathBuf; 2] {
    let shapes: [(&str, &[usize]); 9] = [
        ("conv.bias", &[6]),
        ("conv.weight", &[6, 4, 3, 3]),
        ("lin.bias", &[6]),
        ("lin.weight", &[6, 4]),
        ("norm.bias", &[6]),
        ("norm.weight", &[6]),
        ("point.weight", &[6, 4, 1, 1]),
        ("scale", &[1]),
        ("token_embedding.weight", &[9, 4]),
    ];
    let model = |name, moved: bool| {
        let tensor = |(seed, (key, shape)): (usize, (&'static str, &[usize]))| {
            let w0 = noise(shape, seed as u64);
            (key, if moved { plus(&w0, &noise(shape, 100 + seed as u64)) } else { w0 })
        };
        let tensors: Vec<_> = shapes.into_iter().enumerate().map(tensor).collect();
        files.write(name, &tensors)
    };
    [model("base", false), model("tuned", true)]
}

fn left_out(found: &Extracted) -> Vec<&str> {
    found.left_out.iter().map(|left| left.key.as_str()).collect()
}

fn modules(found: &Extracted) -> Vec<(&str, &str)> {
    found.layers.iter().map(|layer| (layer.module.as_str(), layer.parameter)).collect()
}

#[test]
fn every_difference_is_in_the_file_or_said_to_be_left_out() {
    let files = Files::new();
    let [base, tuned] = models(&files);
    let run = |algorithm, out: &str| {
        extract(algorithm, RANK, DType::F64, &base, &tuned, &files.path(out)).unwrap()
    };
    let lora = run("lora", "lora");
    assert_eq!(modules(&lora).iter().map(|m| m.0).collect::<Vec<_>>(), ["lycoris_lin", "lycoris_point"]);
    let rest = ["conv.bias", "conv.weight", "lin.bias", "norm.bias", "norm.weight"];
    let mut left = left_out(&lora);
    left.sort();
    assert_eq!(left, [&rest[..], &["scale", "token_embedding.weight"]].concat());

    let locon = run("locon", "locon");
    assert_eq!(modules(&locon).len(), 3);

    // What is missing of everything: of the layers, and all that is left out.
    let whole: f64 = (0..9).map(|i| matrix(&noise(SHAPES[i], 100 + i as u64))).map(|m| tail(&m, 0).powi(2)).sum();
    for found in [&lora, &locon] {
        let all = found.total_of_all();
        assert!((all.norm - whole.sqrt()).abs() < 1e-12);
        let lost: f64 = found.left_out.iter().map(|left| left.norm.unwrap().powi(2)).sum();
        assert!((all.error.powi(2) - lost - found.total().error.powi(2)).abs() < 1e-12);
    }
}
