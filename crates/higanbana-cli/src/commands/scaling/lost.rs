//! What a page of `scaling --explain` cannot carry over.

use higanbana_train::{
    Hyperparameter, Role,
    scaling::{Part, is_power_of_two},
};

use super::explain::Page;

impl Page<'_> {
    /// What is not the same, and why.
    pub fn lost(&self) -> Vec<String> {
        let mut lost = Vec::new();
        let adapter = self.adapter;
        if let Ok(translation) = &self.exact {
            if self.published.clip.is_some() && !translation.one_norm {
                lost.push(
                    "clipping by one norm of all gradients: the factors of the tensors differ, and no threshold \
                     serves them all; `higanbana train --scale-from` takes the norm in the published units"
                        .into(),
                );
            }
            let named = translation
                .lines
                .iter()
                .flatten()
                .any(|line| !line.tensors.is_empty() && line.what != "initial values");
            if named {
                lost.push(
                    "numbers that name tensors, in a trainer that has one for all: each needs a parameter group".into(),
                );
            }
            let blocks = translation.scalings.iter().flat_map(|scaling| &scaling.blocks);
            let factors: Vec<f64> =
                blocks.filter(|it| it.part != Part::Frozen).map(|it| it.factor).collect();
            let rounding = match factors.iter().all(|factor| is_power_of_two(*factor)) {
                true => {
                    "numbers that fall below the smallest of half precision; all others are rounded alike, as every \
                     factor is a power of two"
                }
                false => {
                    "the last digits: a factor is not a power of two, so that the trainings are rounded \
                     differently, in half precision more than in single"
                }
            };
            lost.push(rounding.into());
        }
        if self.changes_rank() {
            let [from, to] = self.scales.map(|scale| scale.rank);
            lost.push(format!(
                "rank {from} to rank {to}: tensors of other shapes start from other values and reach other updates"
            ));
        }
        let zero = |h: &&Hyperparameter| {
            h.role == Role::Epsilon && h.power < 0 && self.published.settings.get(h.name) == 0.0
        };
        if let Some(h) = self.rule.hyperparameters.iter().find(zero) {
            let name = h.name;
            lost.push(format!(
                "any step with {name} = 0 in which a gradient is zero, as in the first from zeros: 0/0"
            ));
        }
        lost.push("penalties on the tensors themselves, such as one on their orthogonality".into());
        lost.push(format!(
            "any number to an algorithm other than {adapter}, or to an optimizer other than {}: no rule makes them train \
             the same",
            self.rule.title
        ));
        lost
    }
}
