//! PNDM: a linear multistep method, with Runge-Kutta for its first steps or a short-cut for these.

use burn::tensor::Tensor;

use super::{
    NoiseSchedule, NoiseSource, Prediction, Scheduler, combine,
    config::{Settings, Spacing},
    ddpm::{noised, rounded},
    noise::shares,
};
use crate::ModelError;

/// Each step follows the noise $e$ from $t$ to $s$ (equation 9),
///
/// $$x_s = \sqrt{\frac{\bar\alpha_s}{\bar\alpha_t}} x_t - \frac{(\bar\alpha_s - \bar\alpha_t) e}
/// {\bar\alpha_t\sqrt{1-\bar\alpha_s} + \sqrt{\bar\alpha_t(1-\bar\alpha_t)\bar\alpha_s}}$$
///
/// with $e$ a combination of the last four answers of the model.
#[derive(Debug)]
struct Pndm {
    times: Vec<f64>,
    /// How many of the times belong to Runge-Kutta.
    runge_kutta: usize,
    /// Distance of neighbouring times.
    ratio: i64,
    /// $\bar\alpha$ of the result.
    last: f64,
    noise: NoiseSchedule,
    prediction: Prediction,
    /// Steps made.
    made: usize,
    /// Answers of the model, the latest last.
    answers: Vec<Tensor<4>>,
    /// The sample at which a Runge-Kutta step, or the first two of the short-cut, began.
    start: Option<Tensor<4>>,
    /// What a Runge-Kutta step has gathered.
    sum: Option<Tensor<4>>,
}

/// Order of the Runge-Kutta steps, of which the first four are made.
const ORDER: usize = 4;

pub(super) fn make(mut s: Settings, steps: usize) -> Result<Box<dyn Scheduler>, ModelError> {
    let spacing = s.spacing(Spacing::Leading)?;
    let mut even = rounded(s.times(steps, spacing)?);
    even.reverse();
    let count = even.len();
    let noise = s.noise(false)?;
    let ratio = noise.len() / steps;
    let skip: bool = s.take("skip_prk_steps", false)?;
    let (runge_kutta, mut linear) = match skip {
        true => {
            // The second to last is asked twice.
            let mut times = even.clone();
            if let [.., second, _] = even[..] {
                times.insert(times.len() - 1, second);
            }
            (Vec::new(), times)
        }
        false if count < ORDER => {
            let reason = format!("are {steps}; pndm needs {ORDER} where skip_prk_steps is not set");
            return Err(ModelError::input("steps", reason));
        }
        false => {
            // Each of the last four and a half step beside it; all but the ends are asked twice.
            let half = (ratio / 2) as f64;
            let pairs: Vec<f64> =
                even[count - ORDER..].iter().flat_map(|&time| [time, time + half]).collect();
            let twice: Vec<f64> =
                pairs[..pairs.len() - 1].iter().flat_map(|&time| [time, time]).collect();
            let mut times = twice[1..twice.len() - 1].to_vec();
            times.reverse();
            (times, even[..count - 3].to_vec())
        }
    };
    linear.reverse();
    Ok(Box::new(Pndm {
        runge_kutta: runge_kutta.len(),
        times: [runge_kutta, linear].concat(),
        ratio: ratio as i64,
        last: if s.take("set_alpha_to_one", false)? { 1.0 } else { noise.alpha(0) },
        prediction: s.prediction()?,
        noise,
        made: 0,
        answers: Vec::new(),
        start: None,
        sum: None,
    }))
}

impl Pndm {
    fn alpha(&self, time: i64) -> f64 {
        usize::try_from(time).map_or(self.last, |time| self.noise.alpha(time))
    }

    /// From one time to another along the noise.
    fn follow(&self, [t, s]: [i64; 2], sample: Tensor<4>, output: Tensor<4>) -> Tensor<4> {
        let [at, bt] = shares(self.alpha(t));
        let [a_s, bs] = shares(self.alpha(s));
        let noise = self.prediction.noise([at, bt], &sample, &output);
        let (alpha_t, alpha_s) = (at * at, a_s * a_s);
        let denominator = alpha_t * bs + at * bt * a_s;
        combine([(a_s / at, sample), ((alpha_t - alpha_s) / denominator, noise)])
    }

    fn runge_kutta(&mut self, time: i64, sample: Tensor<4>, output: Tensor<4>) -> Tensor<4> {
        let half = if self.made.is_multiple_of(2) { self.ratio / 2 } else { 0 };
        let begin = self.times[self.made / 4 * 4] as i64;
        let add = |sum: Option<Tensor<4>>, weight, x: Tensor<4>| match sum {
            Some(sum) => combine([(1.0, sum), (weight, x)]),
            None => x.mul_scalar(weight),
        };
        let output = match self.made % 4 {
            0 => {
                self.sum = Some(add(self.sum.take(), 1.0 / 6.0, output.clone()));
                self.answers.push(output.clone());
                self.start = Some(sample.clone());
                output
            }
            1 | 2 => {
                self.sum = Some(add(self.sum.take(), 1.0 / 3.0, output.clone()));
                output
            }
            _ => add(self.sum.take(), 1.0 / 6.0, output),
        };
        let start = self.start.clone().unwrap_or(sample);
        self.follow([begin, time - half], start, output)
    }

    fn linear(&mut self, time: i64, sample: Tensor<4>, output: Tensor<4>) -> Tensor<4> {
        // The short-cut's second step repeats the first with what was seen at its end.
        if self.made == 1 && self.runge_kutta == 0 {
            let first = self.answers[0].clone();
            let mean = combine([(0.5, output), (0.5, first)]);
            let start = self.start.take().unwrap_or(sample);
            return self.follow([time + self.ratio, time], start, mean);
        }
        if self.answers.len() > 3 {
            self.answers.drain(..self.answers.len() - 3);
        }
        self.answers.push(output);
        let e = |back: usize| self.answers[self.answers.len() - back].clone();
        let output = match self.answers.len() {
            1 => {
                self.start = Some(sample.clone());
                e(1)
            }
            2 => combine([(1.5, e(1)), (-0.5, e(2))]),
            3 => combine([(23.0 / 12.0, e(1)), (-16.0 / 12.0, e(2)), (5.0 / 12.0, e(3))]),
            _ => combine([
                (55.0 / 24.0, e(1)),
                (-59.0 / 24.0, e(2)),
                (37.0 / 24.0, e(3)),
                (-9.0 / 24.0, e(4)),
            ]),
        };
        self.follow([time, time - self.ratio], sample, output)
    }
}

impl Scheduler for Pndm {
    fn times(&self) -> &[f64] {
        &self.times
    }

    fn step(
        &mut self,
        step: usize,
        sample: Tensor<4>,
        output: Tensor<4>,
        _noise: NoiseSource,
    ) -> Tensor<4> {
        let time = self.times[step] as i64;
        let sample = match self.made < self.runge_kutta {
            true => self.runge_kutta(time, sample, output),
            false => self.linear(time, sample, output),
        };
        self.made += 1;
        sample
    }

    fn noised(&self, image: Tensor<4>, noise: Tensor<4>, step: usize) -> Tensor<4> {
        noised(&self.noise, self.times[step], image, noise)
    }
}
