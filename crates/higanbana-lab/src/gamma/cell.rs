//! One cell of the table.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Alpha, Answer, Control, Start, THRESHOLD, control::FAIR};

/// One adapter with one optimizer.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// Name of the adapter.
    pub adapter: String,
    /// Name of the optimizer.
    pub optimizer: &'static str,
    /// Degree of the map that $\gamma$ multiplies.
    pub degree: u32,
    /// $c$.
    pub c: i32,
    /// From which values adapters start.
    pub start: Start,
    /// $\gamma = 4^{-m}$: $a = 1/4$, and both are rounded alike.
    pub dyadic_gamma: f64,
    /// Deviation there, in f64 and in f32.
    pub dyadic: [f64; 2],
    /// Whether both are equal bit for bit.
    pub bit_exact: bool,
    /// Why they need not be, on this device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unbounded: Option<&'static str>,
    /// Deviation where every factor is rounded, in f64 and in f32.
    pub rounded: [f64; 2],
    /// Bounds of that.
    pub bounds: [Option<f64>; 2],
    /// Hyperparameters there, of the training without $\gamma$.
    pub hyperparameters: BTreeMap<&'static str, f64>,
    /// How far from that the scaled ones are in the precision in which the optimizer holds them.
    pub rounding: f64,
    /// Trainings with a real $\alpha$: those that are rounded alike and those that are not, each in f64 and in f32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<[Alpha; 4]>,
    /// Why there are none, where one was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_alpha: Option<&'static str>,
    /// Deviation with one rule broken.
    pub controls: BTreeMap<&'static str, f64>,
    /// Share of the steps on which gradients were clipped.
    pub clipped: f64,
}

impl Cell {
    /// From the trainings that are rounded alike and those that are not, each in f64 and in f32.
    pub(super) fn new([double, single]: [Answer; 2], rounded: [Answer; 2]) -> Self {
        let alpha = |answer: &Answer| answer.alpha.clone();
        let alphas = [&double, &single, &rounded[0], &rounded[1]].map(alpha);
        let alpha = match alphas {
            [Some(a), Some(b), Some(c), Some(d)] => Some([a, b, c, d]),
            _ => None,
        };
        Self {
            adapter: double.adapter,
            optimizer: double.optimizer,
            degree: double.degree,
            c: double.c,
            start: double.start,
            dyadic_gamma: double.gamma,
            dyadic: [double.deviation, single.deviation],
            bit_exact: double.bit_exact && single.bit_exact,
            unbounded: double.unbounded,
            rounded: rounded.each_ref().map(|answer| answer.deviation),
            bounds: rounded.each_ref().map(|answer| answer.bound),
            hyperparameters: rounded[0].hyperparameters.clone(),
            rounding: rounded[0].rounding,
            alpha,
            no_alpha: double.no_alpha,
            controls: double.controls,
            clipped: double.clipped,
        }
    }

    /// Adapter and optimizer.
    pub fn name(&self) -> String {
        format!("{} × {}", self.adapter, self.optimizer)
    }

    /// What contradicts the theorem, or a control that does not show: a line each.
    pub(super) fn violations(&self) -> Vec<String> {
        let name = self.name();
        let mut violations = Vec::new();
        if !self.bit_exact && self.unbounded.is_none() {
            let [double, single] = self.dyadic;
            violations.push(format!(
                "{name}: not equal bit for bit at γ = {}: {double:.1e} in f64, {single:.1e} in f32",
                self.dyadic_gamma
            ));
        }
        for ((deviation, bound), dtype) in self.rounded.iter().zip(self.bounds).zip(["f64", "f32"])
        {
            if let Some(bound) = bound.filter(|bound| deviation > bound) {
                violations
                    .push(format!("{name}: {deviation:.1e} in {dtype}, more than {bound:.0e}"));
            }
        }
        let alphas = self.alpha.iter().flatten().flat_map(Alpha::contradictions);
        violations.extend(alphas.map(|line| format!("{name}: {line}")));
        if self.controls.contains_key(Control::UnscaledThreshold.name())
            && !FAIR.contains(&self.clipped)
        {
            let share = 100.0 * self.clipped;
            violations.push(format!("{name}: gradients are clipped on {share:.0} % of the steps"));
        }
        for (control, deviation) in &self.controls {
            if *deviation <= THRESHOLD {
                violations.push(format!("{name}: {control} shows only {deviation:.1e}"));
            }
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_can_be_broken() {
        let alpha = Alpha {
            deviation: 1e-13,
            bit_exact: false,
            path: 1e-13,
            apart: None,
            bounds: [Some(1e-12); 2],
        };
        let cell = Cell {
            adapter: "lora".into(),
            optimizer: "sgd",
            degree: 2,
            c: 2,
            dyadic_gamma: 0.0625,
            dyadic: [0.0; 2],
            bit_exact: true,
            unbounded: None,
            rounded: [1e-13, 1e-6],
            bounds: [Some(1e-12), Some(1e-4)],
            start: Start::Noise,
            hyperparameters: BTreeMap::new(),
            rounding: 0.0,
            alpha: Some(std::array::from_fn(|_| alpha.clone())),
            no_alpha: None,
            controls: BTreeMap::from([("wrong_c", 0.1), ("unscaled_threshold", 0.1)]),
            clipped: 0.5,
        };
        assert!(cell.violations().is_empty());
        let controls = BTreeMap::from([("wrong_c", 1e-4)]);
        let with = |alpha: Alpha| Some(std::array::from_fn(|_| alpha.clone()));
        let [far, off] =
            [Alpha { deviation: 1e-11, ..alpha.clone() }, Alpha { path: 1.0, ..alpha.clone() }];
        for alpha in [far, off] {
            assert_eq!(Cell { alpha: with(alpha), ..cell.clone() }.violations().len(), 4);
        }
        let other = Alpha {
            deviation: 1.0,
            path: 1.0,
            apart: Some("it is another training".into()),
            ..alpha
        };
        assert!(Cell { alpha: with(other), ..cell.clone() }.violations().is_empty());
        for broken in [
            Cell { bit_exact: false, ..cell.clone() },
            Cell { rounded: [1e-11, 1e-6], ..cell.clone() },
            Cell { clipped: 0.9, ..cell.clone() },
            Cell { controls, ..cell.clone() },
        ] {
            assert_eq!(broken.violations().len(), 1, "{broken:?}");
        }
        let elsewhere = Cell { bit_exact: false, unbounded: Some("its own arithmetic"), ..cell };
        assert!(elsewhere.violations().is_empty());
    }
}
