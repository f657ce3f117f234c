//! UniPC: a multistep predictor, and a corrector that costs no further answer of the model.

use burn::tensor::Tensor;

use super::{
    NoiseSource, Prediction, Scheduler, combine,
    config::Settings,
    dpmpp::spaced,
    sigmas::{Level, Levels},
};
use crate::ModelError;

/// With the images $m_i$ predicted at earlier levels, $h$ the width of the step from $m_0$'s level,
/// $r_i$ the distances of the others in units of $h$, and $\varphi = e^{-h} - 1$,
///
/// $$x' = \frac{b'}{b} x - a' \varphi m_0 - a' B \sum_i \rho_i \frac{m_i - m_0}{r_i}.$$
///
/// $\rho$ solves $\sum_i \rho_i r_i^{k-1} = c_k$. The predictor knows earlier images; the corrector,
/// which makes the last step again, also the image at its end, with $r = 1$.
#[derive(Debug)]
struct UniPc {
    levels: Levels,
    prediction: Prediction,
    order: usize,
    /// $B = -h$ instead of $\varphi$.
    bh1: bool,
    lower_order_final: bool,
    /// Steps whose end is not corrected.
    uncorrected: Vec<usize>,
    /// Images with the step at which they were predicted, the latest last.
    images: Vec<(usize, Tensor<4>)>,
    /// The sample before the last step, and the order of that.
    last: Option<(Tensor<4>, usize)>,
}

pub(super) fn make(mut s: Settings, steps: usize) -> Result<Box<dyn Scheduler>, ModelError> {
    s.only("thresholding", false)?;
    s.only("predict_x0", true)?;
    s.only("solver_p", serde_json::Value::Null)?;
    s.only("sigma_min", serde_json::Value::Null)?;
    s.only("sigma_max", serde_json::Value::Null)?;
    s.only("shift_terminal", serde_json::Value::Null)?;
    s.only_false(&["use_flow_sigmas", "use_dynamic_shifting"])?;
    let solver: String = s.take("solver_type", "bh2".into())?;
    // Other schedulers' values mean the default here, as in diffusers.
    if !["bh1", "bh2", "midpoint", "heun", "logrho"].contains(&solver.as_str()) {
        return Err(s.wrong("solver_type", format!("is {solver}; bh1 and bh2 are supported")));
    }
    let order: usize = s.take("solver_order", 2)?;
    if !(1..=3).contains(&order) {
        return Err(s.wrong("solver_order", format!("is {order}; 1, 2 and 3 are supported")));
    }
    Ok(Box::new(UniPc {
        levels: spaced(&mut s, steps)?,
        prediction: s.prediction()?,
        order,
        bh1: solver == "bh1",
        lower_order_final: s.take("lower_order_final", true)?,
        uncorrected: s.take("disable_corrector", Vec::new())?,
        images: Vec::new(),
        last: None,
    }))
}

impl UniPc {
    fn level(&self, step: usize) -> Level {
        Level::from(self.levels.sigmas[step])
    }

    /// The step to `next` from the latest image's level, of an order; with the image at its end for
    /// the corrector.
    fn solve(&self, next: usize, x: Tensor<4>, order: usize, end: Option<Tensor<4>>) -> Tensor<4> {
        let known = self.images.len();
        let (from, m0) = &self.images[known - 1];
        let (here, next) = (self.level(*from), self.level(next));
        let h = next.lambda - here.lambda;
        let phi = (-h).exp_m1();
        let scale = if self.bh1 { -h } else { phi };

        // Every other image with its distance; the one at the end is 1 away.
        let earlier = self.images[known - order..known - 1].iter().rev();
        let mut others: Vec<(f64, &Tensor<4>)> = earlier
            .map(|(step, image)| ((self.level(*step).lambda - here.lambda) / h, image))
            .collect();
        others.extend(end.as_ref().map(|image| (1.0, image)));
        let distances: Vec<f64> = others.iter().map(|(r, _)| *r).collect();
        // In these two cases the reference takes one half for the solution.
        let weights = match (order, &end) {
            (2, None) | (1, Some(_)) => vec![0.5],
            _ => solve(&distances, &right_side(h, scale, distances.len())),
        };

        let y = combine([(next.b / here.b, x), (-next.a * phi, m0.clone())]);
        others.into_iter().zip(weights).fold(y, |y, ((r, image), rho)| {
            let c = -next.a * scale * rho / r;
            combine([(1.0, y), (c, image.clone()), (-c, m0.clone())])
        })
    }
}

/// $c_k = k! \varphi_{k+1} / B$, with $\varphi_1 = (e^{-h}-1)/(-h)$ and
/// $\varphi_{k+1} = (\varphi_k - 1/k!)/(-h)$.
fn right_side(h: f64, scale: f64, count: usize) -> Vec<f64> {
    let hh = -h;
    let (mut factorial, mut phi) = (1.0, hh.exp_m1() / hh - 1.0);
    let sides = (1..=count).map(|k| {
        let side = phi * factorial / scale;
        factorial *= (k + 1) as f64;
        phi = phi / hh - 1.0 / factorial;
        side
    });
    sides.collect()
}

/// The solution of $\sum_i \rho_i r_i^{k-1} = c_k$, at most three unknowns, by elimination. The
/// distances differ, so it is unique.
fn solve(r: &[f64], c: &[f64]) -> Vec<f64> {
    let n = r.len();
    let mut rows: Vec<Vec<f64>> =
        (0..n).map(|k| r.iter().map(|r| r.powi(k as i32)).chain([c[k]]).collect()).collect();
    for pivot in 0..n {
        let taken = rows[pivot].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(index, _)| *index != pivot) {
            let factor = row[pivot] / taken[pivot];
            row.iter_mut().zip(&taken).for_each(|(x, y)| *x -= factor * y);
        }
    }
    (0..n).map(|i| rows[i][n] / rows[i][i]).collect()
}

impl Scheduler for UniPc {
    fn times(&self) -> &[f64] {
        &self.levels.times
    }

    fn step(
        &mut self,
        step: usize,
        sample: Tensor<4>,
        output: Tensor<4>,
        _noise: NoiseSource,
    ) -> Tensor<4> {
        let here = self.level(step);
        let image = self.prediction.image([here.a, here.b], &sample, &output);
        let sample = match self.last.take() {
            Some((before, order)) if !self.uncorrected.contains(&(step - 1)) => {
                self.solve(step, before, order, Some(image.clone()))
            }
            _ => sample,
        };
        self.images.push((step, image));
        if self.images.len() > self.order {
            self.images.remove(0);
        }
        let left = self.levels.times.len() - step;
        let order = if self.lower_order_final { self.order.min(left) } else { self.order };
        let order = order.min(self.images.len());
        let next = self.solve(step + 1, sample.clone(), order, None);
        self.last = Some((sample, order));
        next
    }

    fn noised(&self, image: Tensor<4>, noise: Tensor<4>, step: usize) -> Tensor<4> {
        let level = self.level(step);
        combine([(level.a, image), (level.b, noise)])
    }
}
