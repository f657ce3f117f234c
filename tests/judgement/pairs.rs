//! Every adapter with every optimizer.

use std::cell::RefCell;

use higanbana_adapters::registry;
use higanbana_core::{Kind, Site, SiteKind};
use higanbana_train::{
    Rule, Scaling, optimizers,
    scaling::{Layer, Sharing, judge},
};

use super::course::{Course, departure};

/// What is replaced.
const GAMMA: f64 = 16.0;
/// Rounding: Burn holds hyperparameters in `f32`.
const SAME: f64 = 1e-6;
/// A training that is another one departs by more.
const OTHER: f64 = 1e-3;

/// Every algorithm with its default options, and with every set of them.
fn subjects(ask: impl Fn(&str, &Kind, &toml::Table)) {
    for kind in registry().iter() {
        let sets = kind.variants().iter().map(|set| (set.name, set.options));
        for (name, options) in std::iter::once(("", "")).chain(sets) {
            let mut options: toml::Table = options.parse().unwrap();
            let small = [("rank", toml::Value::Integer(2)), ("block_size", 2.into())];
            for (option, value) in small {
                if kind.defaults().contains_key(option) {
                    options.entry(option).or_insert(value);
                }
            }
            let label = if name.is_empty() {
                kind.name().into()
            } else {
                format!("{}:{name}", kind.name())
            };
            ask(&label, kind, &options);
        }
    }
}

/// A layer of each kind that the algorithm adapts.
fn sites(kind: &Kind) -> Vec<Site> {
    let shape = |kind: SiteKind| match kind {
        // Wide enough for factors of both blocks of a Kronecker product.
        SiteKind::Linear => Some(vec![32, 24]),
        SiteKind::Conv2d => Some(vec![32, 24, 3, 3]),
        SiteKind::Norm => Some(vec![8]),
        _ => None,
    };
    let site = |kind: &SiteKind| Some(Site::new(format!("{kind:?}"), *kind, shape(*kind)?));
    kind.sites().iter().filter_map(site).collect()
}

/// The even choice, whatever the optimizer asks.
fn even(course: &Course, rule: &'static Rule) -> Vec<Scaling> {
    // Where alpha is not what the degree is about, as if it were.
    let layers = course.layers(GAMMA).unwrap_or_else(|_| course.assumed(GAMMA));
    let scaling = |layer: Layer| Scaling::for_gamma(&layer.degree, rule, layer.gamma).unwrap();
    layers.into_iter().map(scaling).collect()
}

/// Where nothing replaces $\gamma$: alpha is not where the degree has it, the only tensor that could take it up
/// starts from zeros, or tensors that need two factors share a number.
fn nothing(label: &str, rule: &Rule, noise: bool) -> bool {
    const ALONE: [&str; 6] = ["boft", "diag-oft", "full", "ia3", "norm", "oftv2"];
    const UNEQUAL: [&str; 3] = ["+dora", ":rescaled", ":tucker"];
    let family = label.split(':').next().unwrap();
    family == "tlora"
        || rule.name == "lamb" && !noise && ALONE.contains(&family)
        || ["prodigy", "normalized_sgd"].contains(&rule.name)
            && UNEQUAL.iter().any(|part| label.contains(part))
}

#[test]
fn what_is_said_to_be_the_same_is_and_the_rest_is_not() {
    let wrong = RefCell::new(Vec::new());
    subjects(|label, kind, options| {
        let course = |noise| Course::new(kind, options, &sites(kind), GAMMA, noise);
        let (own, noised) = (course(false), course(true));
        let noise = optimizers().iter().filter(|rule| rule.needs_nonzero.is_some());
        let cells = optimizers().iter().map(|rule| (&own, rule, false));
        for (course, rule, noise) in cells.chain(noise.map(|rule| (&noised, rule, true))) {
            let published = course.with_gamma(rule);
            let layers = course.layers(GAMMA);
            let judged = layers.and_then(|layers| judge(&layers, rule, Sharing::Together));
            let cell = format!("{label} with {}, noise {noise}", rule.name);
            if judged.is_err() != nothing(label, rule, noise) {
                wrong.borrow_mut().push(format!("{cell}: {judged:?}"));
            }
            let (scalings, bound) = match judged {
                Ok(scalings) => (scalings, 0.0..SAME),
                Err(_) => (even(course, rule), OTHER..f64::INFINITY),
            };
            let off = departure(&published, &course.without_gamma(rule, &scalings));
            if !bound.contains(&off) {
                wrong.borrow_mut().push(format!("{cell}: {off:e}, not within {bound:?}"));
            }
        }
    });
    let wrong = wrong.into_inner();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// From zeros, a LAMB whose factors are even trains something else: what the judgement says is needed.
#[test]
fn even_factors_are_no_scaling_of_lamb_from_zeros() {
    let lamb = optimizers().iter().find(|rule| rule.needs_nonzero.is_some()).unwrap();
    subjects(|label, kind, options| {
        let course = Course::new(kind, options, &sites(kind), GAMMA, false);
        let Ok(layers) = course.layers(GAMMA) else { return };
        if layers.iter().all(|layer| layer.zeros.is_empty() || layer.gamma == 1.0) {
            return;
        }
        let off =
            departure(&course.with_gamma(lamb), &course.without_gamma(lamb, &even(&course, lamb)));
        assert!(off > OTHER, "{label}: {off:e}");
    });
}
