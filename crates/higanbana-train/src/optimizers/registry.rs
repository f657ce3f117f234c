//! The optimizers that a program knows.

use std::sync::OnceLock;

use super::{NoRule, Outside, Rule, optimizers};

/// The toolkit's optimizers, and your own.
#[derive(Debug, Default)]
pub struct Optimizers(Vec<Own>);

#[derive(Debug)]
struct Own {
    outside: Outside,
    found: OnceLock<Result<&'static Rule, NoRule>>,
}

/// An optimizer that a program knows.
#[derive(Debug)]
pub struct Known<'a>(Origin<'a>);

#[derive(Debug)]
enum Origin<'a> {
    Toolkit(&'static Rule),
    Own(&'a Own),
}

impl Optimizers {
    /// Adds one of your own, whose degrees are found when they are first asked for.
    #[must_use]
    pub fn with(mut self, outside: Outside) -> Self {
        self.0.push(Own { outside, found: OnceLock::new() });
        self
    }

    /// All of them, your own last.
    pub fn iter(&self) -> impl Iterator<Item = Known<'_>> {
        let own = self.0.iter().map(|own| Known(Origin::Own(own)));
        optimizers().iter().map(|rule| Known(Origin::Toolkit(rule))).chain(own)
    }
}

impl Known<'_> {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self.0 {
            Origin::Toolkit(rule) => rule.name,
            Origin::Own(own) => own.outside.name,
        }
    }

    /// How it scales.
    ///
    /// # Errors
    /// When it was found to scale in no way.
    pub fn rule(&self) -> Result<&'static Rule, NoRule> {
        match self.0 {
            Origin::Toolkit(rule) => Ok(rule),
            Origin::Own(own) => own.found.get_or_init(|| own.outside.rule()).clone(),
        }
    }
}
