use std::collections::BTreeSet;

use higanbana_core::Degree;

use super::{
    Law, Subject,
    measure::{deviation, difference, dot, norm, values},
    trained,
};

/// Law 01. Claimed: $T(s_1 A_1, \dots, s_n A_n) = (\prod_i s_i^{d_i})\, T(A)$ for random $s$.
/// Not claimed: no exponent $m$ gives $T(s A_1, \dots, s A_n) = s^m T(A)$, or no factors do for
/// scales of their own.
pub(super) const LAW: Law = Law {
    name: "homogeneity",
    statement: "the update scales as its degree says, and in no way where there is none",
    check,
};

fn check(subject: &Subject) -> Result<(), String> {
    match subject.trained.degree() {
        Degree::Update(exponents) => {
            let groups: Vec<(Vec<&str>, u32)> =
                exponents.iter().map(|(names, d)| (names.split('+').collect(), *d)).collect();
            names_are_trained(subject, groups.iter().flat_map(|(names, _)| names))?;
            scales(subject, &groups)
        }
        Degree::Inside { exponents, .. } => {
            let names: Vec<&str> =
                exponents.iter().flat_map(|(names, _)| names.split('+')).collect();
            names_are_trained(subject, &names)?;
            has_counterexample(subject)
        }
        Degree::None { .. } => has_counterexample(subject),
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

fn scales(subject: &Subject, groups: &[(Vec<&str>, u32)]) -> Result<(), String> {
    // exp(g/2): neither 1 nor all alike, and from 0.4 to 2.3 nine times out of ten.
    let factors = values(&subject.normal("scales", [groups.len()]).mul_scalar(0.5).exp());
    let update = values(&subject.update(&subject.trained));
    let scaled = scaled(subject, |name| {
        let group = groups.iter().position(|(names, _)| names.contains(&name));
        group.map_or(1.0, |group| factors[group])
    });
    let factor: f64 = groups.iter().zip(&factors).map(|((_, d), s)| s.powi(*d as i32)).product();
    let expected: Vec<f64> = update.iter().map(|x| factor * x).collect();
    let error = deviation(&scaled, &expected);
    if error > subject.tolerance() {
        return Err(format!(
            "with {groups:?} scaled by {factors:?}, the update is not {factor} times itself: it \
             departs by {error:e}"
        ));
    }
    Ok(())
}

fn has_counterexample(subject: &Subject) -> Result<(), String> {
    let least = subject.epsilon().sqrt();
    let update = values(&subject.update(&subject.trained));
    let exponent =
        |s: f64| proportion(&update, &scaled(subject, |_| s), least).map(|c| c.ln() / s.ln());
    let exponents: Option<Vec<f64>> =
        [2.0, 0.5, 0.125, 0.015625].map(exponent).into_iter().collect();
    let Some(exponents) = exponents else { return Ok(()) };
    if exponents.iter().any(|m| (m - exponents[0]).abs() > least) {
        return Ok(());
    }
    let names: Vec<String> = trained::sizes(&subject.trained).into_iter().map(|(n, _)| n).collect();
    let factors = values(&subject.normal("scales", [names.len()]).mul_scalar(0.5).exp());
    let own = scaled(subject, |name| {
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
    (c > 0.0 && difference(y, &multiple) <= tolerance * norm(y)).then_some(c)
}

fn scaled(subject: &Subject, factor: impl Fn(&str) -> f64) -> Vec<f64> {
    let adapter = trained::map(subject.trained.clone(), |name, x| {
        let factor = factor(name);
        x.iter_mut().for_each(|x| *x *= factor);
    });
    values(&subject.update(&adapter))
}
