//! The page of `scaling --explain`, as text and as JSON.

use anyhow::Result;
use higanbana_core::Degree;
use higanbana_lab::forms::{Form, Scale};
use higanbana_train::{Role, scaling::translation::Line};
use serde_json::json;

use super::explain::Page;
use crate::output;

/// Prints it.
pub fn show(page: &Page) -> Result<()> {
    let Page { adapter, rule, scales: [from, to], .. } = page;
    output::line(format!("{adapter} under {}", rule.title))?;
    output::line(format!("  published  {}", scale(from)))?;
    output::line(format!("  here       {}", scale(to)))?;
    output::line("")?;
    let ignored = !page.forms.is_empty() && page.forms.iter().all(|form| form.layer.gamma == 1.0);
    if ignored && from.value() != to.value() {
        output::line(format!("{adapter} ignores alpha: at both scales it is the same training"))?;
    }
    match &page.exact {
        Err(reason) => output::line(format!("Exact: nothing. {}.", capital(reason)))?,
        Ok(translation) => {
            output::line(format!(
                "Exact{}: with these numbers the update of every layer is the same at every step",
                if page.changes_rank() { ", at the published rank" } else { "" }
            ))?;
            for (form, lines) in page.forms.iter().zip(&translation.lines) {
                if page.forms.len() > 1 {
                    output::line(format!("in a {}", form.sites.join(", a ")))?;
                }
                table(["published>", "here>"], lines)?;
            }
            output::line(format!("unchanged: {}", unchanged(page)))?;
        }
    }
    if let Some(ratio) = page.own_start.filter(|ratio| page.exact.is_ok() && *ratio != page.ratio) {
        output::line("")?;
        output::line(format!(
            "A trainer that cannot scale initial values has another way: --to-lora-plus {} leaves them as they are.",
            number(ratio)
        ))?;
    }
    if page.changes_rank() {
        output::line("")?;
        output::line(
            "Approximate: a change of rank is not a gamma, and only the size of the first step can be kept, in layers \
             much wider than the rank and against gradients without structure (experiment 05)",
        )?;
        let ranks = page.scales.map(|scale| format!("at rank {}>", scale.rank));
        match page.at_the_rank() {
            Some(line) => table(ranks.each_ref().map(String::as_str), &[line])?,
            None => output::line(format!(
                "  no law is known for {adapter} under {}; experiment 05 measures the first steps of algorithms",
                rule.title
            ))?,
        }
    }
    output::line("")?;
    output::line("Not carried over")?;
    page.lost().iter().try_for_each(|reason| output::line(format!("- {reason}")))
}

/// Prints it as JSON.
pub fn json(page: &Page) -> Result<()> {
    let [from, to] = page.scales.map(|scale| {
        json!({
            "alpha": scale.alpha, "rank": scale.rank, "rs_lora": scale.by_root, "scale": scale.value(),
        })
    });
    let lines = |lines: &[Line]| {
        let line = |line: &Line| {
            json!({
                "number": line.what.to_lowercase().replace('+', "_plus").replace(' ', "_"),
                "tensors": line.tensors,
                "from": line.from,
                "to": line.to,
                "why": line.why,
            })
        };
        lines.iter().map(line).collect::<Vec<_>>()
    };
    let exact = page.exact.as_ref().ok().map(|translation| {
        let pairs = page.forms.iter().zip(&translation.lines);
        let form = |(form, numbers): (&Form, &Vec<Line>)| {
            json!({
                "layers": form.sites, "gamma": form.layer.gamma, "numbers": lines(numbers),
            })
        };
        pairs.map(form).collect::<Vec<_>>()
    });
    output::json(&json!({
        "adapter": page.adapter,
        "optimizer": page.rule.name,
        "from": from,
        "to": to,
        "exact": exact,
        "reason": page.exact.as_ref().err(),
        "ratio_of_own_start": page.own_start,
        "approximate": lines(&page.at_the_rank().into_iter().collect::<Vec<_>>()),
        "not_carried_over": page.lost(),
    }))
}

impl Page<'_> {
    pub fn changes_rank(&self) -> bool {
        self.scales[0].rank != self.scales[1].rank
    }

    /// What the rank does to the first step of $s B A$ from $B = 0$: it moves the update by
    /// $\eta s \sqrt r$ (signs) or $\eta s^2 \sqrt r$ (SGD).
    fn at_the_rank(&self) -> Option<Line> {
        let product = self.forms.iter().all(|form| match &form.layer.degree {
            Degree::Update(exponents) => {
                exponents.len() == 2
                    && exponents.iter().all(|(_, d)| *d == 1)
                    && form.layer.zeros.len() == 1
            }
            _ => false,
        });
        // What a norm or a matrix of gradients divides has a first step of another kind.
        let mut others = self.rule.hyperparameters.iter();
        let simple = self.rule.parameter_degree == 0
            && others.all(|h| !matches!(h.role, Role::Norm | Role::Ridge));
        let known = product && simple && !self.forms.is_empty() && self.changes_rank();
        let [from, to] = self.scales.map(|scale| scale.rank as f64);
        let lines = self.exact.as_ref().ok().filter(|_| known)?.lines.first()?;
        let rate = lines.iter().find(|line| line.what == "learning rate")?;
        Some(Line {
            from: rate.to,
            to: rate.to * (from / to).sqrt(),
            why: "times sqrt(rank / other rank): at one scale the first step of SGD or of signs moves the update by \
                  sqrt(rank)"
                .into(),
            ..rate.clone()
        })
    }
}

fn unchanged(page: &Page) -> String {
    let pure = page.rule.hyperparameters.iter().filter(|h| h.power == 0);
    let pure = pure.map(|h| format!("{} {}", h.name, number(page.published.settings.get(h.name))));
    let rest = [
        "the schedule and its warm-up",
        "batches and steps",
        "dropout",
        "a bound on the norm of updates",
    ];
    pure.chain(rest.map(String::from)).collect::<Vec<_>>().join(", ")
}

fn table([from, to]: [&str; 2], lines: &[Line]) -> Result<()> {
    let mut table = output::table(&["  number", "of", from, to, "why"]);
    for line in lines {
        let (from, to) = match line.what {
            "initial values" => (String::new(), format!("× {}", number(line.to))),
            _ => (number(line.from), number(line.to)),
        };
        table.add_row([
            format!("  {}", line.what),
            line.tensors.join(", "),
            from,
            to,
            line.why.clone(),
        ]);
    }
    output::show(&table)
}

fn scale(scale: &Scale) -> String {
    let Scale { alpha, rank, by_root } = *scale;
    let formula = if by_root { "alpha / sqrt(rank)" } else { "alpha / rank" };
    format!(
        "alpha {}, rank {rank}: the update is scaled by {formula} = {}",
        number(alpha),
        number(scale.value())
    )
}

/// A number to six digits.
fn number(x: f64) -> String {
    let rounded: f64 = format!("{x:.5e}").parse().unwrap_or(x);
    if rounded == 0.0 || (1e-3..1e6).contains(&rounded.abs()) {
        rounded.to_string()
    } else {
        format!("{rounded:e}")
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
