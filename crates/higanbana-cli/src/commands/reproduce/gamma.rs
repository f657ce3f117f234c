//! The chapter `gamma`.

use anyhow::{Context, Result, bail};
use higanbana_lab::{
    gamma::{Cell, Chapter, Half, NUMBERS, Plan, TYPES, Worst, page},
    numbers::written,
};

use super::{Again, Arguments, Work, write};
use crate::output;

/// The page, and the numbers.
const NAMES: [&str; 2] = ["gamma.html", "gamma.json"];

pub(super) fn work() -> Work {
    Work {
        names: NAMES.map(String::from).into(),
        run,
        again: |arguments| {
            let (chapter, broken) = measure(arguments)?;
            Again::new(NUMBERS, &lines(&chapter)?, broken)
        },
        committed: "01-gamma-equivalence/gamma.json",
    }
}

/// The chapter as it is written, and what contradicts the theorem, shows nothing or could not be run.
fn measure(arguments: &Arguments) -> Result<(Chapter, Vec<String>)> {
    let device = arguments.compute.device()?;
    let lab = crate::lab(device);
    let bar = output::progress(0);
    let plan = Plan { full: arguments.full, ..Plan::committed() };
    let chapter = Chapter::run(plan, &lab, |total, cell| {
        bar.set_length(total as u64);
        bar.set_message(cell);
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    let broken = [chapter.violations(), chapter.failures.clone()].concat();
    Ok((chapter.written(), broken))
}

/// Runs it: the table in the terminal, a page and the numbers in the folder.
fn run(arguments: &Arguments) -> Result<()> {
    let (chapter, broken) = measure(arguments)?;
    let [html, json] = write(&arguments.out, NAMES, [page(&chapter)?, lines(&chapter)?])?;
    if arguments.json {
        output::json_text(lines(&chapter)?)?;
    } else {
        show(&chapter)?;
        let (html, json) = (html.display(), json.display());
        output::line("")?;
        output::line(format!("The page is {html}, the numbers are {json}"))?;
    }
    chapter.outside.iter().chain(&broken).for_each(output::say);
    match broken.len() {
        0 => Ok(()),
        n => bail!("{n} of the comparisons contradict the theorem or show nothing"),
    }
}

/// The results as JSON with a cell on each line, so that changes can be read.
fn lines(chapter: &Chapter) -> Result<String> {
    let mut rest = written(NUMBERS, serde_json::to_value(chapter)?);
    let object = rest.as_object_mut().context("a chapter is an object")?;
    let mut text = String::from("{\n");
    let last = object.len() - 1;
    for (index, (name, value)) in object.iter().enumerate() {
        let comma = if index == last { "" } else { "," };
        let value = match value.as_array() {
            Some(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
                let items: Vec<String> = items.iter().map(|item| format!("  {item}")).collect();
                format!("[\n{}\n]", items.join(",\n"))
            }
            _ => value.to_string(),
        };
        text.push_str(&format!("\"{name}\": {value}{comma}\n"));
    }
    text.push_str("}\n");
    Ok(text)
}

fn show(chapter: &Chapter) -> Result<()> {
    let plan = &chapter.plan;
    grid(chapter)?;
    output::line("")?;
    output::line(format!(
        "0: equal bit for bit over {} steps, in f64 and in f32, under one gamma",
        plan.steps
    ))?;
    summary(&chapter.cells, plan, plan.gamma_steps)?;
    output::line("")?;
    output::line(format!(
        "The UNet of Stable Diffusion, tiny, {} steps, every layer with a gamma of its own",
        plan.unet_steps
    ))?;
    summary(&chapter.unet, plan, plan.unet_steps)?;
    output::line("")?;
    output::line(format!(
        "Tensors rounded to half precision after each of {} steps of {}: deviation at the last",
        plan.steps, plan.optimizer
    ))?;
    half(&chapter.half)
}

/// The table of adapters and optimizers.
fn grid(Chapter { cells, rules, .. }: &Chapter) -> Result<()> {
    let numbers: Vec<String> = (1..=rules.len()).map(|n| format!("{n}>")).collect();
    let headings = ["adapter", "m>"].into_iter().chain(numbers.iter().map(String::as_str));
    let mut table = output::table(&headings.collect::<Vec<_>>());
    for line in cells.chunk_by(|a, b| a.adapter == b.adapter) {
        let mut row = vec![line[0].adapter.clone(), line[0].degree.to_string()];
        row.extend(rules.iter().map(|rule| {
            match line.iter().find(|cell| cell.optimizer == rule.name) {
                None => "–".into(),
                Some(cell) if cell.bit_exact => "0".into(),
                Some(cell) => format!("{:.0e}", cell.dyadic[0].max(cell.dyadic[1])),
            }
        }));
        table.add_row(row);
    }
    output::show(&table)?;
    let legend: Vec<String> =
        rules.iter().zip(1..).map(|(rule, number)| format!("{number} {}", rule.name)).collect();
    for line in legend.chunks(7) {
        output::line(format!("  {}", line.join("  ")))?;
    }
    Ok(())
}

/// How many cells are exact, and which deviate most and least.
fn summary(cells: &[Cell], plan: &Plan, steps: usize) -> Result<()> {
    let worst = Worst::of(cells);
    let (exact, all, gamma) = (worst.exact, cells.len(), plan.gamma);
    output::line(format!("{exact} of {all} pairs of trainings are equal bit for bit"))?;
    output::line(format!("Largest deviation at gamma {gamma}, {steps} steps"))?;
    for (dtype, (by, at)) in [("f64", &worst.double), ("f32", &worst.single)] {
        output::line(format!("  {dtype:<20}{by:.1e}  {at}"))?;
    }
    output::line("Smallest deviation with one rule broken")?;
    for (name, by, at) in &worst.controls {
        output::line(format!("  {name:<20}{by:.1e}  {at}"))?;
    }
    Ok(())
}

fn half(rows: &[Half]) -> Result<()> {
    let types = TYPES.map(|(name, _)| format!("{name}>"));
    let headings = ["adapter", "smaller by>"].into_iter().chain(types.iter().map(String::as_str));
    let mut table = output::table(&headings.collect::<Vec<_>>());
    for row in rows {
        let deviations =
            row.last.map(|by| if by == 0.0 { "0".into() } else { format!("{by:.0e}") });
        let smaller = format!("{:.4}", row.smaller);
        let smaller = smaller.trim_end_matches('0').trim_end_matches('.').to_string();
        table.add_row([row.adapter.clone(), smaller].into_iter().chain(deviations));
    }
    output::show(&table)
}
