//! How far rounding alone may set two trainings apart.
//!
//! Scaled values leave two marks. Where $a$ is no power of two all numbers of a training are rounded at other
//! places, which the steps amplify. And Burn holds the hyperparameters of its optimizers in `f32`: of
//! $h' = a^p h$ there remains
//! $$\rho = \max_h \left| \frac{\operatorname{fl}(h')}{a^p \operatorname{fl}(h)} - 1 \right|,$$
//! 0 for powers of two, at most $2^{-23}$ for others, and more where an `f32` runs out of exponents: below
//! $2^{-126}$ it has fewer bits, and below $2^{-149}$ none. A step feels a hyperparameter less than in proportion,
//! and twenty steps amplify that by less than ten.

use burn::tensor::DType;

use super::{GammaError, Question, setup::Setup};

/// Steps over which the growth of rounding is bounded.
const BOUNDED: usize = 20;
/// By how much more than $\rho$ updates may differ.
const AMPLIFIED: f64 = 10.0;

impl Setup {
    /// $\rho$.
    ///
    /// # Errors
    /// The hyperparameter of which nothing is left.
    pub(super) fn rounding(&self) -> Result<f64, Lost> {
        let mut largest = 0f64;
        for &a in &self.factors {
            let [with, without] = [self.with_gamma(a), self.without_gamma(a, None)];
            for h in self.rule.hyperparameters.iter().filter(|h| h.power != 0) {
                let values = [&with, &without].map(|group| group.settings.get(h.name));
                let [held, scaled] = values.map(|value| self.rule.held(value));
                for (value, held) in values.into_iter().zip([held, scaled]) {
                    if value != 0.0 && (held == 0.0 || !held.is_finite()) {
                        return Err(Lost { name: h.name, value });
                    }
                }
                if held != 0.0 {
                    largest = largest.max((scaled / held / a.powi(h.power) - 1.0).abs());
                }
            }
        }
        Ok(largest)
    }
}

/// A hyperparameter that is out of range.
#[derive(Debug)]
pub(super) struct Lost {
    name: &'static str,
    value: f64,
}

impl Question<'_> {
    /// A cell that is out of range.
    pub(super) fn lost(&self, Lost { name, value }: Lost) -> GammaError {
        self.outside(format!(
            "{name} would be {value:.0e}, and Burn holds it in f32, which ends before that; give a gamma \
             nearer to 1"
        ))
    }

    /// What the deviation must not exceed where arithmetic is `ieee`'s; or why nothing is promised. `dyadic`
    /// are factors that are powers of two, `rounding` is $\rho$.
    pub(super) fn bound(
        &self,
        dyadic: bool,
        rounding: f64,
        ieee: bool,
    ) -> Result<f64, &'static str> {
        let signs = matches!(self.rule.name, "sign_sgd" | "lion");
        // Fewer bits than a normal f32 has.
        let rounded = if rounding > f64::from(f32::EPSILON) { AMPLIFIED * rounding } else { 0.0 };
        let bound: f64 = match self.dtype {
            _ if !ieee => {
                return Err("roots and quotients of this device need not be rounded correctly");
            }
            _ if dyadic && rounding == 0.0 => return Ok(0.0),
            _ if self.steps > BOUNDED => {
                return Err("over more than 20 steps rounding grows as the training amplifies it");
            }
            DType::F64 if self.rule.single_precision || self.rule.name == "prodigy" => 1e-8,
            DType::F64 => 1e-12,
            _ if signs => return Err("rounding turns signs in f32"),
            _ => 1e-4,
        };
        Ok(bound.max(rounded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gamma::{Subject, rule};

    #[test]
    fn what_is_not_promised_has_a_reason() {
        let subject = Subject::named(&higanbana_adapters::registry(), "lora").unwrap();
        let question = |optimizer: &str, dtype, steps| {
            let new = Question::new(&subject, rule(optimizer).unwrap(), 0.25);
            Question { dtype, steps, ..new }
        };
        let sgd = question("sgd", DType::F64, 20);
        assert_eq!((sgd.bound(true, 0.0, true), sgd.bound(false, 6e-8, true)), (Ok(0.0), Ok(1e-8)));
        // Powers of two that an f32 holds with few bits are no longer exact, and bounded by what is left.
        assert_eq!(sgd.bound(true, 1e-3, true), Ok(1e-2));
        // A device with arithmetic of its own.
        assert!(sgd.bound(true, 0.0, false).unwrap_err().contains("this device"));
        assert!(question("sgd", DType::F64, 21).bound(false, 0.0, true).is_err());
        assert_eq!(question("nadam", DType::F64, 20).bound(false, 0.0, true), Ok(1e-12));
        assert_eq!(question("lion", DType::F32, 200).bound(true, 0.0, true), Ok(0.0));
        assert!(question("lion", DType::F32, 20).bound(false, 0.0, true).is_err());
    }
}
