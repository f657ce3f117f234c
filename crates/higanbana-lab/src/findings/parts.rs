//! Of whom something holds.

use super::{Judge, Order, Sample};
use crate::study::list;

/// Names by what the seeds tell of their number.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parts<'a> {
    /// Whose number is less.
    pub less: Vec<&'a str>,
    /// Whose number is greater.
    pub greater: Vec<&'a str>,
    /// Whose number is the same within the margin.
    pub tied: Vec<&'a str>,
    /// Of whom none of these is shown.
    pub unknown: Vec<&'a str>,
}

impl<'a> Parts<'a> {
    /// Of several names against a number: one sentence, of as many comparisons as there are names.
    pub fn against(number: f64, entries: &'a [(&'a str, Sample)], margin: f64) -> Self {
        let judge = Judge { margin, comparisons: entries.len() };
        let mut parts = Self::default();
        for (name, sample) in entries {
            parts.group(sample.against(number, judge)).push(name);
        }
        parts
    }

    fn group(&mut self, order: Order) -> &mut Vec<&'a str> {
        match order {
            Order::Less => &mut self.less,
            Order::Greater => &mut self.greater,
            Order::Tied => &mut self.tied,
            Order::Unknown => &mut self.unknown,
        }
    }

    /// `falls for a and b, rises for c; for d these numbers do not decide`, with the words for less, greater and tied;
    /// `falls for every one of 3` where nothing else is.
    pub fn words(&self, [less, greater, tied]: [&str; 3]) -> String {
        let groups = [(less, &self.less), (greater, &self.greater), (tied, &self.tied)];
        let said: Vec<(&str, &Vec<&str>)> =
            groups.into_iter().filter(|(_, names)| !names.is_empty()).collect();
        let doubt = list(self.unknown.iter().copied());
        match (&said[..], self.unknown.is_empty()) {
            ([], true) => "is not measured".into(),
            ([(word, names)], true) if names.len() > 1 => {
                format!("{word} for every one of {}", names.len())
            }
            ([], false) => format!("is not decided by these numbers for {doubt}"),
            (said, known) => {
                let of = |(word, names): &(&str, &Vec<&str>)| {
                    format!("{word} for {}", list(names.iter().copied()))
                };
                let said = said.iter().map(of).collect::<Vec<_>>().join(", ");
                if known {
                    said
                } else {
                    format!("{said}; for {doubt} these numbers do not decide")
                }
            }
        }
    }
}
