//! `higanbana scaling --explain`: the numbers of a published recipe for another that trains the same.

use anyhow::{Context, Result, bail};
use clap::Args;
use higanbana_lab::{
    forms::{Form, FormError, Scale, forms},
    subject::Subject,
};
use higanbana_train::{
    Rule, Settings,
    scaling::translation::{Numbers, Translation, ratio_of_own_start, translate},
};

use super::{Arguments, page};

/// The rest of a recipe.
#[derive(Args)]
pub struct Recipe {
    /// With --explain: learning rate of the recipe; the optimizer's default otherwise
    #[arg(long, requires = "explain", allow_negative_numbers = true)]
    rate: Option<f64>,
    /// With --explain: threshold of the norm of all gradients (max_grad_norm)
    #[arg(long, requires = "explain", allow_negative_numbers = true)]
    clip: Option<f64>,
    /// With --explain: a hyperparameter of the optimizer, as eps=1e-8; its default otherwise
    #[arg(long, requires = "explain", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// With --explain: the rank to go to
    #[arg(long, requires = "explain", value_parser = clap::value_parser!(u64).range(1..))]
    to_rank: Option<u64>,
    /// With --explain: go to a scale of alpha / sqrt(rank), or away from it
    #[arg(
        long, requires = "explain", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true"
    )]
    to_rs_lora: Option<bool>,
    /// With --explain: the ratio of LoRA+ to go to
    #[arg(long, requires = "explain", value_name = "RATIO", allow_negative_numbers = true)]
    to_lora_plus: Option<f64>,
}

impl Recipe {
    /// Whether the scale to go to is $\alpha/\sqrt r$ where the published one is not.
    pub fn to_root(&self) -> bool {
        self.to_rs_lora == Some(true)
    }
}

/// What a page is made of.
pub struct Page<'a> {
    pub adapter: &'a str,
    pub rule: &'static Rule,
    pub scales: [Scale; 2],
    pub published: Numbers,
    pub ratio: f64,
    pub forms: Vec<Form>,
    /// The numbers that train the same, or why there are none.
    pub exact: Result<Translation, String>,
    /// The ratio of LoRA+ at which initial values stay.
    pub own_start: Option<f64>,
}

/// Prints the page.
pub fn run(arguments: &Arguments, subject: &Subject, rule: &'static Rule) -> Result<()> {
    let Recipe { rate, clip, to_rank, to_rs_lora, to_lora_plus, .. } = arguments.recipe;
    let from = arguments.from();
    let to = Scale {
        alpha: arguments.to_alpha,
        rank: to_rank.unwrap_or(arguments.rank) as usize,
        by_root: to_rs_lora.unwrap_or(arguments.rs_lora),
    };
    let ratio = arguments.lora_plus.unwrap_or(1.0);
    for (option, number) in
        [("rate", rate), ("clip", clip), ("lora-plus", Some(ratio)), ("to-lora-plus", to_lora_plus)]
    {
        if let Some(number) = number.filter(|it| !(*it > 0.0 && it.is_finite())) {
            bail!("--{option} is {number}: give a positive number");
        }
    }
    let settings = settings(rule, &arguments.recipe.set)?;
    let rate = rate.unwrap_or(rule.rate);
    let published = Numbers { rate, ratio, clip, settings };
    let ratio = to_lora_plus.unwrap_or(ratio);
    let forms = match forms(subject, from, to) {
        Err(FormError::Scaling(error)) => Err(error.to_string()),
        other => Ok(other.with_context(|| arguments.adapter.clone())?),
    };
    let layers = |forms: &[Form]| forms.iter().map(|form| form.layer.clone()).collect::<Vec<_>>();
    let (forms, exact, own_start) = match forms {
        Err(reason) => (Vec::new(), Err(reason), None),
        Ok(forms) => {
            let layers = layers(&forms);
            let there = |ratio: &f64| translate(&layers, rule, &published, *ratio).is_ok();
            let own_start = ratio_of_own_start(&layers, rule, published.ratio).filter(there);
            let exact = translate(&layers, rule, &published, ratio);
            (forms, exact.map_err(|error| error.to_string()), own_start)
        }
    };
    let page = Page {
        adapter: &arguments.adapter,
        rule,
        scales: [from, to],
        published,
        ratio,
        forms,
        exact,
        own_start,
    };
    if arguments.json { page::json(&page) } else { page::show(&page) }
}

/// The hyperparameters of an optimizer with some of them set.
fn settings(rule: &Rule, set: &[String]) -> Result<Settings> {
    set.iter().try_fold(rule.settings(), |settings, text| {
        let wrong = || format!("--set {text}: give a name and a number, as eps=1e-8");
        let (name, value) = text.split_once('=').with_context(wrong)?;
        let value: f64 = value.parse().ok().with_context(wrong)?;
        let Some(known) = rule.hyperparameters.iter().find(|known| known.name == name) else {
            let known: Vec<_> = rule.hyperparameters.iter().map(|h| h.name).collect();
            bail!("--set {text}: {} has no {name}; it has {}", rule.title, known.join(", "));
        };
        match known.wants(value) {
            Some(right) => bail!("--set {text}: give {right}"),
            None => Ok(settings.with(name, value)),
        }
    })
}
