//! The chapter `gamma`.

use anyhow::{Context, Result, bail};
use higanbana_lab::gamma::{Chapter, Plan, page};
use higanbana_train::optimizers;

use super::Arguments;
use crate::output;

/// Runs it: the table in the terminal, a page and the numbers in the folder.
pub fn run(arguments: &Arguments) -> Result<()> {
    let device = arguments.compute.device()?;
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot make the folder {}", arguments.out.display()))?;
    let registry = higanbana_adapters::registry();
    let bar = output::progress(0);
    let chapter = Chapter::run(Plan::committed(), &registry, &device, |total, question| {
        bar.set_length(total as u64);
        bar.set_message(format!("{} × {}", question.subject.label, question.rule.name));
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    let html = arguments.out.join("gamma.html");
    let json = arguments.out.join("gamma.json");
    higanbana_io::writer::write_text(&html, &page(&chapter)?, true)?;
    higanbana_io::writer::write_text(&json, &lines(&chapter)?, true)?;
    if arguments.json {
        output::json(&chapter)?;
    } else {
        show(&chapter)?;
        output::line(format!(
            "\nThe page is {}, the numbers are {}",
            html.display(),
            json.display()
        ))?;
    }
    let violations = chapter.violations();
    for line in violations.iter().chain(&chapter.failures) {
        eprintln!("{line}");
    }
    match violations.len() + chapter.failures.len() {
        0 => Ok(()),
        n => bail!("{n} of the comparisons contradict the theorem or show nothing"),
    }
}

/// The results as JSON with a cell on each line, so that changes can be read.
fn lines(chapter: &Chapter) -> Result<String> {
    let mut rest = serde_json::to_value(chapter)?;
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
    let numbers: Vec<String> = (1..=optimizers().len()).map(|n| format!("{n}>")).collect();
    let headings = ["adapter", "m>"].into_iter().chain(numbers.iter().map(String::as_str));
    let mut table = output::table(&headings.collect::<Vec<_>>());
    let mut cells = chapter.cells.iter().peekable();
    while let Some(first) = cells.peek() {
        let (adapter, degree) = (first.adapter.clone(), first.degree);
        let mut row = vec![adapter.clone(), degree.to_string()];
        for rule in optimizers() {
            let same = |cell: &&&_| same(cell, &adapter, rule.name);
            row.push(match cells.peek().filter(same) {
                None => "–".into(),
                Some(cell) if cell.bit_exact => "0".into(),
                Some(cell) => format!("{:.0e}", cell.dyadic[0].max(cell.dyadic[1])),
            });
            if cells.peek().filter(same).is_some() {
                cells.next();
            }
        }
        table.add_row(row);
    }
    output::show(&table)?;
    let legend: Vec<String> = optimizers()
        .iter()
        .enumerate()
        .map(|(i, rule)| format!("{} {}", i + 1, rule.name))
        .collect();
    for line in legend.chunks(7) {
        output::line(format!("  {}", line.join("  ")))?;
    }
    let (worst, plan) = (chapter.worst(), &chapter.plan);
    output::line(format!(
        "\n0: equal bit for bit over {} steps, in f64 and in f32; {} of {} pairs of trainings are",
        plan.steps,
        worst.exact,
        chapter.cells.len()
    ))?;
    output::line(format!(
        "\nLargest deviation at gamma {}, {} steps",
        plan.gamma, plan.gamma_steps
    ))?;
    for (dtype, (by, at)) in [("f64", &worst.double), ("f32", &worst.single)] {
        output::line(format!("  {dtype:<20}{by:.1e}  {at}"))?;
    }
    output::line("Smallest deviation with one rule broken")?;
    for (name, by, at) in &worst.controls {
        output::line(format!("  {name:<20}{by:.1e}  {at}"))?;
    }
    Ok(())
}

fn same(cell: &higanbana_lab::gamma::Cell, adapter: &str, optimizer: &str) -> bool {
    cell.adapter == adapter && cell.optimizer == optimizer
}
