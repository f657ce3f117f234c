use std::collections::BTreeSet;

use higanbana_core::{Degree, DynAdapter, trained};

use super::{
    Law, Subject,
    measure::{deviation, difference, dot, exceeds, norm, values},
};

/// Law 01. Claimed: scaling the trained tensors by random $s_i$ is $\gamma = \prod_i s_i^{d_i}$ where
/// the degree has it, before the update or before a map inside (those outside of the map are left
/// alone), and with powers of two to the last bit. Not claimed of the whole update: no exponent $m$
/// gives $T(s A_1, \dots, s A_n) = s^m T(A)$, or no factors do for scales of their own.
pub(super) const LAW: Law = Law {
    name: "homogeneity",
    statement: "the update scales as its degree says, and in no way where there is none",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    let degree = subject.trained.degree();
    let inside = matches!(degree, Degree::Inside { .. });
    if let Degree::Update(exponents) | Degree::Inside { exponents, .. } = &degree {
        let groups: Vec<(Vec<&str>, u32)> =
            exponents.iter().map(|(names, d)| (names.split('+').collect(), *d)).collect();
        names_are_trained(subject, groups.iter().flat_map(|(names, _)| names))?;
        scales(subject, &groups, inside)?;
    }
    match degree {
        Degree::Update(_) => Ok(()),
        Degree::Inside { .. } | Degree::None { .. } => has_counterexample(subject),
    }
}

fn names_are_trained<'n>(
    subject: &Subject,
    names: impl IntoIterator<Item = &'n &'n str>,
) -> Result<(), String> {
    let sizes = trained::sizes(&subject.trained);
    let trained: BTreeSet<&str> = sizes.iter().map(|(name, _)| name.as_str()).collect();
    let stated: BTreeSet<&str> = names.into_iter().copied().collect();
    if stated != trained {
        return Err(format!("exponents are given for {stated:?}, but {trained:?} train"));
    }
    Ok(())
}

fn scales(subject: &Subject, groups: &[(Vec<&str>, u32)], inside: bool) -> Result<(), String> {
    // exp(g/2): neither 1 nor all alike, and from 0.4 to 2.3 nine times out of ten.
    let random = values(&subject.normal("scales", [groups.len()]).mul_scalar(0.5).exp());
    let dyadic = [2.0, 0.25, 4.0].into_iter().cycle().take(groups.len()).collect();
    let with_gamma = |adapter: &DynAdapter, gamma| {
        values(&adapter.update_gamma(subject.site(), &subject.w0, gamma))
    };
    for (mut factors, tolerance) in [(random, subject.tolerance()), (dyadic, 0.0)] {
        let outside = groups.iter().zip(&mut factors).filter(|((_, d), _)| inside && *d == 0);
        outside.for_each(|(_, factor)| *factor = 1.0);
        let adapter = scaled(subject, |name| {
            let group = groups.iter().position(|(names, _)| names.contains(&name));
            group.map_or(1.0, |group| factors[group])
        });
        let gamma = groups.iter().zip(&factors).map(|((_, d), s)| s.powi(*d as i32)).product();
        let expected = with_gamma(&subject.trained, gamma);
        let update = match tolerance {
            0.0 => with_gamma(&adapter, 1.0),
            _ => values(&adapter.update_at(subject.site(), &subject.w0, 1.0)),
        };
        let error = deviation(&update, &expected);
        if exceeds(error, tolerance) {
            return Err(format!(
                "with {groups:?} scaled by {factors:?}, the update is not that of γ = {gamma}: it \
                 departs by {error:e}"
            ));
        }
    }
    Ok(())
}

fn has_counterexample(subject: &Subject) -> Result<(), String> {
    let least = subject.epsilon().sqrt();
    let update = values(&subject.update(&subject.trained));
    if !norm(&update).is_finite() {
        return Err("the update is not finite: nothing can be said of how it scales".into());
    }
    let scaled = |factor: &dyn Fn(&str) -> f64| values(&subject.update(&scaled(subject, factor)));
    let exponent = |s: f64| proportion(&update, &scaled(&|_| s), least).map(|c| c.ln() / s.ln());
    let exponents: Option<Vec<f64>> =
        [2.0, 0.5, 0.125, 0.015625].map(exponent).into_iter().collect();
    let Some(exponents) = exponents else { return Ok(()) };
    if exponents.iter().any(|m| (m - exponents[0]).abs() > least) {
        return Ok(());
    }
    let names: Vec<String> = trained::sizes(&subject.trained).into_iter().map(|(n, _)| n).collect();
    let factors = values(&subject.normal("scales", [names.len()]).mul_scalar(0.5).exp());
    let own = scaled(&|name| {
        names.iter().position(|other| other == name).map_or(1.0, |index| factors[index])
    });
    match proportion(&update, &own, least) {
        None => Ok(()),
        Some(_) => Err(format!(
            "it is said to have no degree, but scales with exponent {:.6}",
            exponents[0]
        )),
    }
}

/// The factor $c > 0$ with $y = c x$, if there is one.
fn proportion(x: &[f64], y: &[f64], tolerance: f64) -> Option<f64> {
    let c = dot(x, y) / dot(x, x);
    let multiple: Vec<f64> = x.iter().map(|x| c * x).collect();
    (c > 0.0 && !exceeds(difference(y, &multiple), tolerance * norm(y))).then_some(c)
}

/// The adapter with every trained tensor scaled.
fn scaled(subject: &Subject, factor: impl Fn(&str) -> f64) -> DynAdapter {
    trained::map(subject.trained.clone(), |name, x| {
        let factor = factor(name);
        x.iter_mut().for_each(|x| *x *= factor);
    })
}
