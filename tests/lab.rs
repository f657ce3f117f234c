//! The experiments: pages are pure functions of committed numbers, an algorithm from outside is in all of them, and
//! what is known beforehand comes out.

#[path = "../crates/higanbana/examples/khatri_rao.rs"]
#[allow(dead_code)]
mod khatri_rao;

use std::{f64::consts::PI, fs, path::Path};

use burn::tensor::{Device, Tensor};
use higanbana::{
    core::Adapter,
    lab::{
        chapter::{Chapter, Record, page, perform, study, unsteady},
        experiment::Lab,
        expressivity::{Expressivity, targets, trained},
        initialisation::{self, Initialisation, Scale},
        rank::Rank,
        spectra::{Setting, Spectra},
        sweep::Plan,
    },
};
use khatri_rao::KhatriRao;

fn committed(folder: &str, file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let path = root.join(folder).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn is_rebuilt<C: Chapter>(folder: &str) {
    let results = committed(folder, &format!("{}.json", C::NAME));
    let rebuilt = page::<C>(&results, &[]).unwrap();
    assert!(
        rebuilt == committed(folder, &format!("{}.html", C::NAME)),
        "{folder}: the page is another"
    );
    let runs = serde_json::from_str::<Vec<serde_json::Value>>(&results).unwrap();
    let planned = Plan::of::<C>(&C::plan(&Lab::new(Device::flex()), false).unwrap()).unwrap();
    assert_eq!(runs.len(), planned.runs.len(), "{folder}: every run of the plan has its result");
}

#[test]
fn committed_pages_are_those_of_the_committed_numbers() {
    is_rebuilt::<Rank>("02-rank");
    is_rebuilt::<Expressivity>("03-expressivity");
    is_rebuilt::<Spectra>("04-spectra-of-training");
    is_rebuilt::<Initialisation>("05-initialisation");
}

/// Runs what is left of a chapter's plan, with an algorithm of one's own among the others.
fn at_tiny_size<C: Chapter>(keep: impl Fn(&mut C::Parameters) -> bool) -> Vec<Record<C>> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::new(Device::flex());
    lab.adapters = lab.adapters.with::<KhatriRao>();
    let runs = C::plan(&lab, false).unwrap();
    let runs: Vec<_> =
        runs.into_iter().filter_map(|mut run| keep(&mut run).then_some(run)).collect();
    let plan = Plan::of::<C>(&runs).unwrap();
    let done = perform::<C>(&lab, &plan, folder.path(), |_, _| ()).unwrap();
    assert_eq!(done.failures, [""; 0]);
    let study = study::<C>(&done.results).unwrap();
    for figure in study.galleries.iter().flat_map(|gallery| &gallery.figures) {
        assert!(figure.svg.contains(KhatriRao::NAME), "{}", figure.caption);
    }
    for table in study.tables.iter().filter(|table| !table.rows.is_empty()) {
        let named = table.rows.iter().filter(|row| row[0].text.starts_with(KhatriRao::NAME));
        assert!(named.count() > 0, "{}", table.title);
    }
    assert_eq!(unsteady::<C>(&lab, &plan, &folder.path().join("twice")), [""; 0]);
    // A second call finds everything done.
    let again = perform::<C>(&lab, &plan, folder.path(), |_, _| ()).unwrap();
    assert_eq!(again.results, done.results);
    serde_json::from_str(&done.results).unwrap()
}

fn is_chosen(adapter: &str) -> bool {
    [KhatriRao::NAME, "lora", "diag-oft"].contains(&adapter)
}

#[test]
fn an_algorithm_from_outside_is_in_the_chapter_of_rank() {
    let records = at_tiny_size::<Rank>(|run| {
        run.ranks.truncate(2);
        is_chosen(&run.adapter) && run.shape.iter().product::<usize>() <= 12_000
    });
    for record in &records {
        for size in &record.outcome {
            assert_eq!(size.random.rank, size.bound, "{:?}", record.parameters);
            let error = size.small.as_ref().map_or(0.0, |small| small.error);
            assert!(error <= 1.0 + 1e-9, "{:?}: {error}", record.parameters);
        }
    }
}

#[test]
fn an_algorithm_from_outside_is_in_the_chapter_of_expressivity() {
    let records = at_tiny_size::<Expressivity>(|run| {
        (run.size, run.budgets, run.seeds, run.starts) = (12, vec![48, 96], 1, 1);
        is_chosen(&run.adapter)
    });
    for record in &records {
        for cell in &record.outcome {
            // A new adapter is exactly at 1, and closed forms are optima.
            assert!((0.0..=1.0 + 1e-9).contains(&cell.error), "{:?}: {cell:?}", record.parameters);
            if let Some(gap) = cell.gap {
                assert!((-1e-9..0.05).contains(&gap), "{:?}: {cell:?}", record.parameters);
            }
        }
    }
    assert_eq!(records.len(), 3 * targets::FAMILIES.len());
}

#[test]
fn an_algorithm_from_outside_is_in_the_chapter_of_spectra() {
    let records = at_tiny_size::<Spectra>(|run| {
        match &mut run.setting {
            Setting::Regression { size, budget, .. } => (*size, *budget, run.steps) = (12, 96, 64),
            Setting::Unet { rank } => (*rank, run.steps, run.batch) = (2, 8, 2),
        }
        is_chosen(&run.adapter) && run.seed == 0
    });
    assert_eq!(records.len(), 2 * 3);
    for record in &records {
        let (first, last) = (record.outcome.first().unwrap(), record.outcome.last().unwrap());
        assert!(last.relative > first.relative, "{:?}: {last:?}", record.parameters);
        if let Setting::Regression { .. } = record.parameters.setting {
            assert!(last.error < first.error, "{:?}: {last:?}", record.parameters);
        }
    }
}

/// For $\Delta W = s B A$ with $B = 0$ and the entries of $A$ `[r, n]` uniform in $\pm 1/\sqrt n$, against a gradient of norm 1:
/// $s \sqrt{r/3n}$, $s^2 \sqrt{r/9n\,(1 + (r - 1/5)/n)}$ and $s \sqrt{rn/3\,(1 + 2(r - 1)/\pi n)}$, in the mean of squares.
#[test]
fn first_steps_are_those_of_the_closed_forms() {
    const N: usize = 96;
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(Device::flex());
    let runs = [Scale::AlphaOverRank, Scale::AlphaOverRoot].map(|scale| {
        let (adapter, ranks) = ("lora".into(), vec![2, 8, 32]);
        initialisation::Parameters { adapter, scale, size: N, ranks, seeds: 8 }
    });
    let plan = Plan::of::<Initialisation>(&runs).unwrap();
    let done = perform::<Initialisation>(&lab, &plan, folder.path(), |_, _| ()).unwrap();
    let records: Vec<Record<Initialisation>> = serde_json::from_str(&done.results).unwrap();
    for record in &records {
        for &rank in &record.parameters.ranks {
            let mean = |of: fn(&initialisation::Step) -> f64| {
                let firsts = record.outcome.iter().filter(|first| first.rank == rank);
                let squares: Vec<f64> = firsts.map(|first| of(&first.whole).powi(2)).collect();
                (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
            };
            let found = [mean(|step| step.gradient), mean(|step| step.sgd), mean(|step| step.sign)];
            let (r, n) = (rank as f64, N as f64);
            let s = if record.parameters.scale == Scale::AlphaOverRank {
                1.0 / r
            } else {
                r.sqrt().recip()
            };
            let expected = [
                s * (r / (3.0 * n)).sqrt(),
                s * s * (r / (9.0 * n) * (1.0 + (r - 0.2) / n)).sqrt(),
                s * (r * n / 3.0 * (1.0 + 2.0 * (r - 1.0) / (PI * n))).sqrt(),
            ];
            for (found, expected) in found.into_iter().zip(expected) {
                assert!(
                    (found / expected - 1.0).abs() < 0.08,
                    "rank {rank}: {found} is not {expected}"
                );
            }
        }
    }
}

/// For $\Delta W = s W_1 \otimes (A B)$ with $B = 0$, $W_1$ `[l, m]` uniform in $\pm 1/\sqrt m$ and $A$ `[k, r]` in
/// $\pm 1/\sqrt r$, against a gradient of norm 1: $s / (3 \sqrt m)$ whatever the rank, in the mean of squares; for
/// $s = \alpha / r$ the power −1, for $\alpha / \sqrt r$ −1/2. Of 64 rows and columns, $m = 8$, while $2 r < 8$.
#[test]
fn first_gradients_of_a_kronecker_product_are_those_of_the_closed_form() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(Device::flex());
    let runs = [Scale::AlphaOverRank, Scale::AlphaOverRoot].map(|scale| {
        let (adapter, ranks) = ("lokr".into(), vec![1, 2, 3]);
        initialisation::Parameters { adapter, scale, size: 64, ranks, seeds: 64 }
    });
    let plan = Plan::of::<Initialisation>(&runs).unwrap();
    let done = perform::<Initialisation>(&lab, &plan, folder.path(), |_, _| ()).unwrap();
    let records: Vec<Record<Initialisation>> = serde_json::from_str(&done.results).unwrap();
    for Record { parameters, outcome } in &records {
        for &rank in &parameters.ranks {
            let own = outcome.iter().filter(|first| first.rank == rank);
            let squares: Vec<f64> = own.map(|first| first.whole.gradient.powi(2)).collect();
            let found = (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
            let s = match parameters.scale {
                Scale::AlphaOverRank => 1.0 / rank as f64,
                _ => (rank as f64).sqrt().recip(),
            };
            let expected = s / (3.0 * 8f64.sqrt());
            assert!(
                (found / expected - 1.0).abs() < 0.08,
                "rank {rank}: {found} is not {expected}"
            );
        }
    }
}

#[test]
fn an_algorithm_from_outside_is_in_the_chapter_of_initialisation() {
    at_tiny_size::<Initialisation>(|run| {
        (run.size, run.seeds) = (12, 1);
        is_chosen(&run.adapter)
    });
}

#[test]
fn committed_differences_are_what_training_makes() {
    let device = Device::flex();
    let w0 = Tensor::ones([32, 32], (&device, burn::tensor::DType::F64));
    let family = targets::family("trained").unwrap();
    let committed = family.target(&w0, &device, 0).unwrap();
    let made = trained::train(32, 0, &device);
    let norm = |x: Tensor<2>| x.square().sum().into_scalar::<f64>().sqrt();
    let made = made.clone().mul_scalar(norm(committed.clone()) / norm(made));
    let apart = norm(committed.clone() - made) / norm(committed);
    assert!(apart < 1e-3, "{apart:e}");
}
