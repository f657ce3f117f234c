//! The best approximation of a matrix by an adapter: in closed form where the algorithm has one, else by
//! minimising
//! $$f(\theta) = \frac{\lVert \Delta W(\theta) - T \rVert_F^2}{\lVert T \rVert_F^2}$$
//! through autodiff from several starts: the adapter's own values, so that a new adapter ends no farther than where
//! nothing is updated; those of the algorithm's own [fit](Kind::fit), where there is no closed form; and random ones.

use burn::{module::Module, tensor::Tensor};
use higanbana_core::{
    AdapterError, Budget, DynAdapter, Kind, Site,
    spectrum::{frobenius, relative_error},
    trained,
};

use crate::{
    minimise::{Limits, Minimum, minimise},
    numbers::Numbers,
};

/// How hard to search.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// Number of random starts.
    pub starts: usize,
    /// Steps from each.
    pub steps: usize,
    /// Seed of the starts.
    pub seed: u64,
}

/// Deviations of the noise that starts are drawn with, in turn: a new adapter is a saddle, where factors of zeros
/// keep the gradient of the others at zero.
const NOISE: [f64; 3] = [0.3, 0.03, 1.0];

/// Where the value is rounding.
const LIMITS: Limits = Limits { steps: 0, decrease: 1e-7, value: 1e-26 };

/// Share by which one error has to be below another to count as less: of what is nearer by rounding, the first is
/// taken, and one that is settled before one that is not.
pub(crate) const MARGIN: f64 = 1e-6;

/// The numbers of a search that came to its end. Most ends are the same on every processor to six digits; but where a
/// descent forks, rounding may decide to which of two local optima it goes.
pub(crate) const SETTLED: Numbers = Numbers { absolute: 0.02, relative: 0.1, ..Numbers::COMPUTED };

/// Those of one that was cut off: where it stands when its steps are spent follows rounding.
pub(crate) const CUT_OFF: Numbers = Numbers {
    flag: Some("cut_off"),
    digits: 3,
    absolute: 0.05,
    relative: 0.15,
    ..Numbers::COMPUTED
};

/// Ranks of what that has found.
pub(crate) const CUT_OFF_RANKS: Numbers =
    Numbers { keys: &["rank", "rank_90", "rank_99"], absolute: 1.0, ..CUT_OFF };

/// Whether it was cut off: on another processor the last step may be one of the spent ones, or not.
pub(crate) const CUT_OFF_FLAG: Numbers =
    Numbers { keys: &["cut_off"], absolute: 1.0, ..Numbers::COMPUTED };

/// An adapter near a target.
#[derive(Debug, Clone)]
pub struct Found {
    /// The adapter.
    pub adapter: DynAdapter,
    /// $\lVert \Delta W - T \rVert_F / \lVert T \rVert_F$.
    pub error: f64,
    /// Whether nothing nearer was to be had from where the search began; else it was cut off.
    pub settled: bool,
}

/// The closed form, where there is one.
///
/// # Errors
/// When a decomposition fails.
pub fn closed_form(
    adapter: &DynAdapter,
    site: &Site,
    w0: &Tensor<2>,
    target: &Tensor<2>,
) -> Result<Option<Found>, AdapterError> {
    let Some(nearest) = adapter.nearest(site, w0, target).transpose()? else { return Ok(None) };
    let error = relative_error(&nearest.update_at(site, w0, 1.0), target);
    Ok(Some(Found { adapter: nearest, error, settled: true }))
}

/// The best of several descents, from the values of `adapter` and from others near them.
pub fn optimised(
    adapter: &DynAdapter,
    kind: &Kind,
    site: &Site,
    w0: &Tensor<2>,
    target: &Tensor<2>,
    search: Search,
) -> Found {
    let scale = frobenius(target);
    let (base, goal) = (w0.clone().autodiff(), target.clone().autodiff());
    let drawn = |start: usize| {
        let noise = NOISE[start % NOISE.len()];
        trained::values(&trained::shaken(adapter.clone(), noise, search.seed * 1000 + start as u64))
    };
    let own = std::iter::once(trained::values(adapter));
    let starts =
        own.chain(fitted(adapter, kind, site, w0, target)).chain((0..search.starts).map(drawn));
    let descend = |start: Vec<f64>| {
        let value = |theta: &[f64]| {
            let adapter = trained::with_values(adapter.clone(), theta).train();
            let apart = adapter.update_at(site, &base, 1.0) - goal.clone();
            let loss = apart.square().sum().div_scalar(scale * scale);
            let value = loss.to_data().iter::<f64>().sum();
            let gradients = trained::gradients(&adapter, &loss.backward());
            (value, gradients.into_iter().flat_map(|(_, gradient)| gradient).collect())
        };
        minimise(value, start, Limits { steps: search.steps, ..LIMITS })
    };
    let ends: Vec<Minimum> = starts.map(descend).collect();
    let best = best(&ends).expect("the adapter's own values are a start");
    // A start that no descent left is no end of one where others, though they end higher, moved.
    let stays = best.evaluations == 1 && ends.iter().any(|end| end.evaluations > 1);
    let nearest = trained::with_values(adapter.clone(), &best.x);
    let settled = best.settled && (!stays || best.value <= LIMITS.value);
    Found { adapter: nearest, error: best.value.sqrt(), settled }
}

/// The least; of those that are as small, one that is settled.
fn best(ends: &[Minimum]) -> Option<&Minimum> {
    let least = ends.iter().min_by(|a, b| a.value.total_cmp(&b.value))?;
    // Values are squares of errors.
    let bound = least.value * (1.0 + 2.0 * MARGIN);
    ends.iter().find(|end| end.settled && end.value <= bound).or(Some(least))
}

/// Where the algorithm itself begins ([`Kind::fit`]), if that is an adapter of this one's size.
fn fitted(
    adapter: &DynAdapter,
    kind: &Kind,
    site: &Site,
    w0: &Tensor<2>,
    target: &Tensor<2>,
) -> Option<Vec<f64>> {
    // A fit that is the closed form would leave nothing for the descent to find, and to be checked by.
    if adapter.nearest(site, w0, target).is_some() {
        return None;
    }
    let rank = kind.outline(site.kind, &adapter.write(site)).rank?;
    let fitted = kind.fit(site, target, Budget::Rank(rank))?.ok()?;
    let values = trained::values(&fitted);
    (values.len() == trained::values(adapter).len()).then_some(values)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::subject::{Subject, layer, stream};

    #[test]
    fn of_descents_that_come_as_deep_a_settled_one_is_taken() {
        let minimum = |value, settled| Minimum { x: vec![value], value, evaluations: 1, settled };
        let best = |values: &[(f64, bool)]| {
            let ends: Vec<Minimum> =
                values.iter().map(|&(v, settled)| minimum(v, settled)).collect();
            best(&ends).unwrap().value
        };
        assert_eq!(best(&[(1.0, false), (1.0 + 1e-6, true)]), 1.0 + 1e-6);
        assert_eq!(best(&[(1.0 + 1e-5, true), (1.0, false)]), 1.0);
        assert_eq!(best(&[(2.0, true), (f64::NAN, true), (1.0, false)]), 1.0);
    }

    /// Fits that once ended at 1.26, 1.13 and 1.56: a descent from a rotation, or a factor, that is far off.
    #[test]
    fn no_fit_is_worse_than_no_update() {
        let device = Device::flex();
        let registry = higanbana_adapters::registry();
        for (label, shape, rank, factor) in [
            ("boft", &[16, 8, 2, 2][..], 2, None),
            ("tlora:random", &[16, 8, 2, 2], 4, None),
            ("lokr+dora", &[32, 32], 4, Some(2)),
        ] {
            let (site, w0) = layer(shape, &device, 0).unwrap();
            let subject = Subject::named(&registry, label).unwrap();
            let sized = subject.of_rank(rank);
            let sized = factor.map_or(sized.clone(), |factor: i64| sized.with("factor", factor));
            let fresh = sized.build(&site, &w0, 0).unwrap();
            let target = stream("random update", &device, 0).normal(w0.dims(), 0.1);
            let search = Search { starts: 1, steps: 20, seed: 0 };
            let found = optimised(&fresh, subject.kind, &site, &w0, &target, search);
            assert!(found.error <= 1.0, "{label}: {}", found.error);
        }
    }
}
