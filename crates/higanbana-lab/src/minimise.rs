//! Minimising a smooth function of some hundred numbers: L-BFGS with a line search by bisection.
//!
//! Numbers are on the host, since all the work is in the function. Burn's own L-BFGS serves the training of
//! models: it stops at absolute changes of the loss, where here the gap to a closed form is measured, and keeps
//! its history as tensors, whose overhead is many times that of a small adapter's gradient.
//!
//! Sources: J. Nocedal, S. Wright, Numerical optimization (2006), algorithm 7.5; A. Lewis, M. Overton, Nonsmooth
//! optimization via quasi-Newton methods (2013), section 3.3, for the line search.

use std::collections::VecDeque;

/// Pairs of steps and changes of the gradient that are remembered.
const MEMORY: usize = 24;
/// Share of the decrease that the slope promises, and share of the slope that may be left.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Bisections and doublings of one line search.
const TRIALS: usize = 40;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Number of steps.
    pub steps: usize,
    /// Relative decrease over ten steps below which nothing more is expected.
    pub decrease: f64,
    /// Value that is as good as zero.
    pub value: f64,
}

/// Where the search ended.
#[derive(Debug, Clone)]
pub struct Minimum {
    /// The point.
    pub x: Vec<f64>,
    /// The value there.
    pub value: f64,
    /// How often the function was evaluated.
    pub evaluations: usize,
    /// Whether the descent came to its end; else it was cut off after as many steps as it had.
    pub settled: bool,
}

/// A step $s$ and the change $y$ of the gradient over it.
struct Pair {
    s: Vec<f64>,
    y: Vec<f64>,
    sy: f64,
}

/// Descends from `x`; `f` gives value and gradient. What is not finite is no descent.
pub fn minimise(
    mut f: impl FnMut(&[f64]) -> (f64, Vec<f64>),
    mut x: Vec<f64>,
    limits: Limits,
) -> Minimum {
    let (mut value, mut gradient) = f(&x);
    let mut evaluations = 1;
    let mut pairs = VecDeque::<Pair>::new();
    let mut recent = VecDeque::from([value]);
    let mut settled = true;
    for step in 0.. {
        if value <= limits.value {
            break;
        }
        if step == limits.steps {
            settled = false;
            break;
        }
        let mut direction = direction(&pairs, &gradient);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 || !slope.is_finite() {
            pairs.clear();
            direction = gradient.iter().map(|g| -g).collect();
            slope = -dot(&gradient, &gradient);
        }
        if slope == 0.0 || !slope.is_finite() {
            break;
        }
        // The first step is as long as the value promises to reach zero, no longer than 1.
        let first =
            if pairs.is_empty() { (-value / slope).min(1.0 / (-slope).sqrt()) } else { 1.0 };
        let trial =
            |t: f64| -> Vec<f64> { x.iter().zip(&direction).map(|(x, d)| x + t * d).collect() };
        let (mut low, mut high, mut t) = (0.0, f64::INFINITY, first);
        let mut found = None;
        for _ in 0..TRIALS {
            let point = trial(t);
            let (there, slope_there) = f(&point);
            evaluations += 1;
            if !there.is_finite() || there > value + DECREASE * t * slope {
                high = t;
            } else if dot(&direction, &slope_there) < CURVATURE * slope {
                low = t;
                found = Some((point, there, slope_there));
            } else {
                found = Some((point, there, slope_there));
                break;
            }
            t = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * t };
        }
        let Some((point, there, gradient_there)) = found else {
            // Along the gradient itself only rounding hides a descent; along another direction the memory may be at fault.
            if pairs.is_empty() {
                break;
            }
            pairs.clear();
            continue;
        };
        let difference = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        let (s, y): (Vec<f64>, Vec<f64>) =
            (difference(&point, &x), difference(&gradient_there, &gradient));
        let sy = dot(&s, &y);
        if sy > 0.0 {
            pairs.push_back(Pair { s, y, sy });
            if pairs.len() > MEMORY {
                pairs.pop_front();
            }
        }
        (x, value, gradient) = (point, there, gradient_there);
        recent.push_back(value);
        if recent.len() > 10 {
            let before = recent.pop_front().expect("it has ten");
            if before - value <= limits.decrease * before {
                break;
            }
        }
    }
    Minimum { x, value, evaluations, settled }
}

/// $-H g$ by the two-loop recursion.
fn direction(pairs: &VecDeque<Pair>, gradient: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut weights = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let weight = dot(&pair.s, &q) / pair.sy;
        add(&mut q, -weight, &pair.y);
        weights.push(weight);
    }
    if let Some(last) = pairs.back() {
        let scale = last.sy / dot(&last.y, &last.y);
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for (pair, weight) in pairs.iter().zip(weights.into_iter().rev()) {
        let correction = weight - dot(&pair.y, &q) / pair.sy;
        add(&mut q, correction, &pair.s);
    }
    q
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(a: &mut [f64], factor: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += factor * b);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { steps: 500, decrease: 0.0, value: 1e-24 };

    #[test]
    fn a_valley_is_followed_to_its_end() {
        // Rosenbrock in ten dimensions.
        let f = |x: &[f64]| {
            let (mut value, mut gradient) = (0.0, vec![0.0; x.len()]);
            for i in 0..x.len() - 1 {
                let (a, b) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
                value += 100.0 * a * a + b * b;
                gradient[i] += -400.0 * a * x[i] - 2.0 * b;
                gradient[i + 1] += 200.0 * a;
            }
            (value, gradient)
        };
        let found = minimise(f, vec![-1.2; 10], LIMITS);
        assert!(found.settled && found.x.iter().all(|x| (x - 1.0).abs() < 1e-8), "{found:?}");
        let cut = minimise(f, vec![-1.2; 10], Limits { steps: 3, ..LIMITS });
        assert!(!cut.settled && cut.value > found.value, "{cut:?}");
    }

    #[test]
    fn an_ill_conditioned_bowl_has_one_bottom() {
        let f = |x: &[f64]| {
            let weight = |i: usize| 10f64.powi(i as i32 - 3);
            let value = x.iter().enumerate().map(|(i, x)| 0.5 * weight(i) * x * x).sum();
            (value, x.iter().enumerate().map(|(i, x)| weight(i) * x).collect())
        };
        let found = minimise(f, vec![1.0; 7], LIMITS);
        assert!(found.value < 1e-20 && found.evaluations < 400, "{found:?}");
    }

    #[test]
    fn where_nothing_descends_the_start_is_kept() {
        let nowhere = minimise(|x| (f64::NAN, vec![f64::NAN; x.len()]), vec![3.0], LIMITS);
        assert_eq!((nowhere.x, nowhere.evaluations), (vec![3.0], 1));
        let flat = minimise(|x| (1.0, vec![0.0; x.len()]), vec![3.0], LIMITS);
        assert_eq!(flat.x, [3.0]);
    }
}
