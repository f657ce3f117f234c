//! What the numbers of the chapter say.

use super::{
    First, Initialisation, Step,
    power::{Power, Regime, STABLE},
    view::{QUANTITIES, Records, name},
};
use crate::{
    chapter::Record,
    findings::{Front, Order, Sample, Side},
    study::list,
};

/// One adapter at one scale in one regime.
struct Case<'a> {
    name: String,
    regime: Regime<'a>,
}

pub(super) fn findings(records: Records) -> Vec<String> {
    let cases: Vec<Case> = records.iter().flat_map(cases).collect();
    QUANTITIES
        .iter()
        .flat_map(|(title, _, of)| [stable(title, *of, &cases), steepest(title, *of, &cases)])
        .flatten()
        .collect()
}

/// Regimes of enough ranks that a power can be fitted.
fn cases(record: &Record<Initialisation>) -> Vec<Case<'_>> {
    let regimes = Regime::all(&record.outcome);
    let ranks = |regime: &Regime| match regimes.len() {
        1 => String::new(),
        _ => format!(" (ranks {})", regime.name()),
    };
    let names: Vec<String> =
        regimes.iter().map(|regime| format!("{}{}", name(record), ranks(regime))).collect();
    let cases = names.into_iter().zip(regimes).map(|(name, regime)| Case { name, regime });
    cases.filter(|case| case.regime.is_fitted()).collect()
}

impl<'a> Case<'a> {
    /// How each tensor that moves at all goes.
    fn powers(&self, of: fn(&Step) -> f64) -> Vec<(&'a str, Power)> {
        let powers = self.regime.tensors.iter().map(|&name| {
            let number = |first: &First| first.tensors.get(name).map_or(0.0, of);
            (name, self.regime.power(number))
        });
        powers.filter(|(_, power)| *power != Power::Zero).collect()
    }
}

/// Who is stable: in every tensor that moves.
fn stable(title: &str, of: fn(&Step) -> f64, cases: &[Case]) -> Option<String> {
    let (mut stable, mut hidden, mut bent, mut unknown) = (vec![], vec![], vec![], vec![]);
    let powers: Vec<_> = cases.iter().map(|case| (case, case.powers(of))).collect();
    // As many comparisons as there are tensors, and the wholes.
    let comparisons = powers.iter().map(|(_, powers)| powers.len() + 1).sum();
    for (case, powers) in powers.iter().filter(|(_, powers)| !powers.is_empty()) {
        let orders: Vec<Order> = powers.iter().map(|(_, power)| power.order(comparisons)).collect();
        let unstable = orders.iter().any(|order| matches!(order, Order::Less | Order::Greater));
        let whole = case.regime.power(|first| of(&first.whole)).order(comparisons);
        let place = match (unstable, whole) {
            _ if orders.iter().all(|order| *order == Order::Tied) => &mut stable,
            (true, Order::Tied) => &mut hidden,
            (true, _) => continue,
            _ if powers.iter().any(|(_, power)| *power == Power::Bent) => &mut bent,
            _ => &mut unknown,
        };
        place.push(case.name.as_str());
    }
    let clause = |words: &str, names: &[&str]| match names {
        [] => String::new(),
        names => format!(" {words} {}.", list(names.iter().copied())),
    };
    (!cases.is_empty()).then(|| {
        format!(
            "The {title} is stable in the rank, every moving tensor’s power within {STABLE}, for {}.{}{}{}",
            list(stable.iter().copied()),
            clause("Only as a whole, where a large tensor hides one that is not, it is for", &hidden),
            clause("It goes as no power of the rank for", &bent),
            clause("These numbers do not decide it for", &unknown)
        )
    })
}

/// Which tensor depends on the rank most.
fn steepest(title: &str, of: fn(&Step) -> f64, cases: &[Case]) -> Option<String> {
    let tensors = cases.iter().flat_map(|case| {
        let tensors = case.powers(of).into_iter().filter_map(|(tensor, power)| match power {
            Power::Of(sample) => Some((format!("{} of {}", tensor, case.name), sample)),
            _ => None,
        });
        tensors.collect::<Vec<_>>()
    });
    let tensors: Vec<(String, Sample)> = tensors.collect();
    let sizes: Vec<(&str, Sample)> =
        tensors.iter().map(|(name, sample)| (name.as_str(), sample.map(f64::abs))).collect();
    let front = Front::of(&sizes, Side::Most, STABLE)?;
    let (_, power) = tensors.iter().find(|(name, _)| name == front.first)?;
    let alike = match front.tied[..] {
        [] => String::new(),
        _ => format!("; within {STABLE} of it: {}", list(front.tied.iter().copied())),
    };
    Some(format!(
        "The {title} depends on the rank most in {}, as r to the power {}{alike}{}.",
        front.first,
        power.words(),
        front.doubt("may depend on it more")
    ))
}
