//! Negative controls: one rule of the theorem broken, which has to show.

use higanbana_train::{Role, Scaling, ScalingError};

use super::{
    course::{Course, Setup, Start},
    net::Adapted,
};

/// A control has to depart by more than this.
pub const THRESHOLD: f64 = 1e-3;
/// A control that departs by more than this is broken off.
const ENOUGH: f64 = 100.0 * THRESHOLD;

/// A rule of the theorem, broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The learning rate scaled with another power.
    WrongC,
    /// Every ε left as it was.
    UnscaledEps,
    /// Weight decay left as it was.
    UnscaledDecay,
    /// The threshold of clipping left as it was.
    UnscaledThreshold,
    /// One threshold for layers of unequal factors.
    GlobalClip,
}

impl Control {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::WrongC,
        Self::UnscaledEps,
        Self::UnscaledDecay,
        Self::UnscaledThreshold,
        Self::GlobalClip,
    ];

    /// Name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::WrongC => "wrong_c",
            Self::UnscaledEps => "unscaled_eps",
            Self::UnscaledDecay => "unscaled_decay",
            Self::UnscaledThreshold => "unscaled_threshold",
            Self::GlobalClip => "global_clip",
        }
    }

    /// Whether hyperparameters of this role are left as they were.
    pub(super) fn leaves(self, role: Role) -> bool {
        match self {
            Self::UnscaledEps => matches!(role, Role::Epsilon | Role::Ridge | Role::Norm),
            Self::UnscaledDecay => role == Role::Decay,
            _ => false,
        }
    }
}

/// The deviation with one rule broken, as soon as it is large enough to show; a reason where the rule
/// cannot be broken.
pub(super) fn run(
    control: Control,
    net: &Adapted,
    setup: &Setup,
    reference: &Course,
    scale: &dyn Fn(&[f64]) -> Result<Vec<Scaling>, ScalingError>,
) -> Result<f64, String> {
    let rule = setup.rule;
    let broken = || {
        let course = Course::without_gamma(net, setup, Some(control));
        Ok(reference.compare(course, reference.updates.len(), Some(ENOUGH)).deviation())
    };
    match control {
        Control::WrongC => broken(),
        Control::UnscaledEps | Control::UnscaledDecay => {
            let left: Vec<_> =
                rule.hyperparameters.iter().filter(|h| control.leaves(h.role)).collect();
            let what = if control == Control::UnscaledEps { "ε" } else { "weight decay" };
            match left.first() {
                None => Err(format!("{} has no {what}", rule.title)),
                Some(h) if left.iter().all(|h| h.power == 0) => Err(format!(
                    "the {what} of {} does not scale: {}, and c = {}",
                    rule.title,
                    h.why,
                    rule.c()
                )),
                Some(_) => broken(),
            }
        }
        Control::UnscaledThreshold => match rule.ignores_clipping {
            Some(why) => Err(why.into()),
            None => broken(),
        },
        Control::GlobalClip => match rule.ignores_clipping {
            Some(why) => Err(why.into()),
            None => global_clip(net, setup, reference.updates.len(), scale),
        },
    }
}

/// The second half of the layers without γ, all of them under one threshold: the best of several that
/// one might think of still departs.
fn global_clip(
    net: &Adapted,
    setup: &Setup,
    steps: usize,
    scale: &dyn Fn(&[f64]) -> Result<Vec<Scaling>, ScalingError>,
) -> Result<f64, String> {
    let n = net.sites.len();
    if n < 2 {
        return Err("it takes two layers to have unequal factors".into());
    }
    let gamma = setup.scalings[0].gamma;
    let gammas: Vec<f64> = (0..n).map(|site| if site < n / 2 { gamma } else { 1.0 }).collect();
    let scalings = scale(&gammas).map_err(|error| error.to_string())?;
    let a = scalings[0].blocks.iter().map(|b| b.factor).find(|a| *a != 1.0).unwrap_or(1.0);
    let mut factors = setup.factors.clone();
    if !factors.contains(&1.0) {
        factors.push(1.0);
    }
    let mut unequal = Setup {
        rule: setup.rule,
        scalings,
        thresholds: vec![f64::INFINITY; factors.len()],
        factors,
        rate: setup.rate,
        settings: setup.settings.clone(),
        // Layers at work from the first step: one that hardly moves has no say in the norm.
        start: Start::Noise,
        whole: Some(f64::INFINITY),
        seed: setup.seed,
    };
    let mut probe = Course::with_gamma(net, &unequal);
    probe.run(steps, |_, _| true);
    let threshold = probe.median_of_whole();
    unequal.whole = Some(threshold);
    let mut reference = Course::with_gamma(net, &unequal);
    reference.run(steps, |_, _| true);
    let deviations = [1.0, a.powi(-1), a.sqrt().recip()].map(|factor| {
        unequal.whole = Some(threshold * factor);
        let course = Course::without_gamma(net, &unequal, None);
        reference.compare(course, steps, Some(ENOUGH)).deviation()
    });
    Ok(deviations.into_iter().fold(f64::INFINITY, f64::min))
}
