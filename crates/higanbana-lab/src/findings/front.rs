//! Who has the least or the most.

use super::{Judge, Order, Sample};
use crate::study::list;

/// Which end of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The least.
    Least,
    /// The most.
    Most,
}

/// Who is ahead of all others, and who may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Front<'a> {
    /// Whose mean is.
    pub first: &'a str,
    /// The number of that.
    pub sample: &'a Sample,
    /// Those that tie with it, in the order of their means.
    pub tied: Vec<&'a str>,
    /// Those of which the seeds do not tell whether they are behind it.
    pub unknown: Vec<&'a str>,
}

impl<'a> Front<'a> {
    /// Of several names; none of no names.
    pub fn of(entries: &'a [(&'a str, Sample)], side: Side, margin: f64) -> Option<Self> {
        let ahead = |a: &Sample, b: &Sample| match side {
            Side::Least => a.mean().total_cmp(&b.mean()),
            Side::Most => b.mean().total_cmp(&a.mean()),
        };
        let mut entries: Vec<&(&str, Sample)> =
            entries.iter().filter(|(_, sample)| sample.seeds() > 0).collect();
        // Nothing is below an upper bound for sure: an exact number leads at the upper end.
        let late = |sample: &Sample| side == Side::Most && sample.at_most();
        entries.sort_by(|(_, a), (_, b)| late(a).cmp(&late(b)).then(ahead(a, b)));
        let ((first, sample), others) = entries.split_first()?;
        // The first is chosen by the numbers that it is judged by: any two might have been compared.
        let judge = Judge { margin, comparisons: others.len() * (others.len() + 1) / 2 };
        let mut front = Self { first, sample, tied: Vec::new(), unknown: Vec::new() };
        for (name, other) in others {
            match (sample.compared(other, judge), side) {
                (Order::Tied, _) => front.tied.push(name),
                (Order::Less, Side::Least) | (Order::Greater, Side::Most) => {}
                _ => front.unknown.push(name),
            }
        }
        Some(front)
    }

    /// The names that are ahead, and their number: `a and b, alike, with 0.1 ± 0.02`.
    pub fn names(&self) -> String {
        let number = self.sample.words();
        match &self.tied[..] {
            [] => format!("{}, with {number}", self.first),
            tied => {
                format!(
                    "{}, alike, with {number}",
                    list([self.first].into_iter().chain(tied.iter().copied()))
                )
            }
        }
    }

    /// What is not known of others, as a further clause: `; c may be nearer, which these numbers do not decide`.
    /// Nothing where all is known.
    pub fn doubt(&self, may_be: &str) -> String {
        match &self.unknown[..] {
            [] => String::new(),
            unknown => {
                let names = list(unknown.iter().copied());
                format!("; {names} {may_be}, which these numbers do not decide")
            }
        }
    }
}
