//! What may be said from numbers: every sentence of a page that compares goes through here.
//!
//! A number of a run is a draw: another seed gives another one. Of the values $x_1, \dots, x_n$ of $n$ seeds, with mean
//! $\bar x$ and standard deviation $s$, Student's interval
//! $$\bar x \pm t_{n-1}\big(1 - \tfrac a2\big) \frac{s}{\sqrt n}$$
//! contains the expectation with probability $1 - a$ where the values are normal. It is taken in place of a bootstrap
//! because chapters have three to sixteen seeds: resampling so few never leaves their range, and contains the expectation
//! too seldom (of three seeds, at most three times in four), while $t$ widens as it should.
//!
//! * Algorithms are compared seed by seed, since they meet the same task there: the interval is that of the differences.
//! * A sentence is right as a whole with probability $1 - a$, $a = 0.05$: each of its $k$ comparisons gets $a/k$
//!   (Bonferroni).
//! * Differences that lie within a stated margin are ties, and only those.
//! * A value at which a search was cut off is an upper bound. "Less" follows from it, "greater" and "equal" do not.
//! * Everything else is [unknown](Order::Unknown), and the sentence says so. One seed tells nothing of others.

mod front;
mod parts;
mod student;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use front::{Front, Side};
pub use parts::Parts;

use crate::study::digits;

/// $a$: the probability with which a sentence may be wrong.
const WRONG: f64 = 0.05;

/// A measured number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    /// The number.
    pub value: f64,
    /// Whether it is an upper bound: that of a search which was cut off.
    pub at_most: bool,
}

/// The same number under several seeds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample(BTreeMap<u64, Value>);

/// What the seeds tell of the order of two expectations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The first is less, by more than the margin.
    Less,
    /// The first is greater, by more than the margin.
    Greater,
    /// They differ by no more than the margin.
    Tied,
    /// None of these is shown.
    Unknown,
}

/// How strictly to compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judge {
    /// Differences that are of no weight.
    pub margin: f64,
    /// $k$: the number of comparisons of the sentence.
    pub comparisons: usize,
}

impl Sample {
    /// Numbers by their seeds; of two for one seed the latter.
    pub fn of(values: impl IntoIterator<Item = (u64, f64)>) -> Self {
        values.into_iter().map(|(seed, value)| (seed, Value { value, at_most: false })).collect()
    }

    /// A function of every number that is none of an upper bound's.
    #[must_use]
    pub fn map(&self, of: impl Fn(f64) -> f64) -> Self {
        Self::of(self.0.iter().map(|(seed, it)| (*seed, of(it.value))))
    }

    /// Number of seeds.
    pub fn seeds(&self) -> usize {
        self.0.len()
    }

    /// The numbers.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.0.values().map(|it| it.value)
    }

    /// Whether any is an upper bound, as their mean then is as well.
    pub fn at_most(&self) -> bool {
        self.0.values().any(|it| it.at_most)
    }

    /// The mean; not a number of no seeds.
    pub fn mean(&self) -> f64 {
        self.values().sum::<f64>() / self.seeds() as f64
    }

    /// Half the width of the interval of the mean in a sentence of this many comparisons; infinite of one seed.
    pub fn half_width(&self, comparisons: usize) -> f64 {
        let n = self.seeds();
        if n < 2 {
            return f64::INFINITY;
        }
        let mean = self.mean();
        let squares: f64 = self.values().map(|value| (value - mean).powi(2)).sum();
        let error = (squares / (n - 1) as f64 / n as f64).sqrt();
        match error {
            // An infinite quantile of no spread would be no number.
            0.0 => 0.0,
            _ => error * student::quantile(n - 1, WRONG / comparisons.max(1) as f64),
        }
    }

    /// Against a number.
    pub fn against(&self, number: f64, judge: Judge) -> Order {
        let half = self.half_width(judge.comparisons);
        let (mean, margin) = (self.mean() - number, judge.margin);
        let bound = self.at_most();
        match (mean - half, mean + half) {
            (_, high) if high < -margin => Order::Less,
            (low, _) if low > margin && !bound => Order::Greater,
            (low, high) if low >= -margin && high <= margin && !bound => Order::Tied,
            _ => Order::Unknown,
        }
    }

    /// Against the same number of another algorithm, over the seeds that both have.
    pub fn compared(&self, other: &Self, judge: Judge) -> Order {
        let (ours, theirs) = (self.at_most(), other.at_most());
        let pairs =
            self.0.iter().filter_map(|(seed, a)| Some((*seed, a.value - other.0.get(seed)?.value)));
        match (Self::of(pairs).against(0.0, judge), ours, theirs) {
            // At most a is less than b: a is, whatever it is below that.
            (order, false, false) => order,
            (Order::Less, true, false) => Order::Less,
            (Order::Greater, false, true) => Order::Greater,
            _ => Order::Unknown,
        }
    }

    /// The mean with its own interval: `0.344 ± 0.012`, `at most 0.61`, or `0.344 (one seed)`.
    pub fn words(&self) -> String {
        let mean = digits(self.mean());
        match (self.at_most(), self.half_width(1)) {
            (true, _) => format!("at most {mean}"),
            (_, half) if half.is_infinite() => format!("{mean} (one seed)"),
            (_, half) if half < 5e-4 * self.mean().abs() => mean,
            (_, half) => format!("{mean} ± {}", digits(half)),
        }
    }
}

impl FromIterator<(u64, Value)> for Sample {
    fn from_iter<I: IntoIterator<Item = (u64, Value)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// All that attain the largest key: of counts, which are the same under every seed, ties are named and not chosen from.
pub fn largest<T>(items: impl IntoIterator<Item = T>, key: impl Fn(&T) -> f64) -> Vec<T> {
    let items: Vec<T> = items.into_iter().collect();
    let most = items.iter().map(&key).fold(f64::NEG_INFINITY, f64::max);
    items.into_iter().filter(|item| key(item) >= most).collect()
}

/// How the sentences of a page were decided, for its notes.
pub fn method(seeds: usize) -> String {
    format!(
        "Sentences that compare are those that Student’s t over {seeds} seeds, seed by seed, allows at 95 % for the whole sentence \
         (Bonferroni over what it compares); behind ± stands the half-width of the 95 % interval of a mean. What was cut off is an upper \
         bound: it may be called less, never greater or equal."
    )
}
