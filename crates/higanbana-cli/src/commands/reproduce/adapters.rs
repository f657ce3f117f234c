//! The chapter `adapters`.

use anyhow::Result;
use higanbana_lab::{
    adapters::{FLOOR, Fixtures, NUMBERS, Reload, Row, run as compare},
    report,
};

use super::{Again, Arguments, Work, write};
use crate::output;

/// Results, and the page.
const NAMES: [&str; 2] = ["results/adapters.json", "adapters.html"];

pub(super) fn work() -> Work {
    Work {
        names: NAMES.map(String::from).into(),
        run,
        again: |arguments| Again::new(NUMBERS, &results(arguments)?, Vec::new()),
        committed: "00-adapters/results/adapters.json",
    }
}

fn results(arguments: &Arguments) -> Result<String> {
    let device = arguments.compute.device()?;
    let rows = output::steps(|step| {
        let cases = Fixtures::committed().cases.len();
        Ok(compare(&crate::registry(), &device, |case| step(case, cases))?)
    })?;
    Ok(report::results(&rows)?)
}

fn run(arguments: &Arguments) -> Result<()> {
    let results = results(arguments)?;
    let texts = [results.clone(), report::adapters(&results, &crate::registry())?];
    let [json, page] = write(&arguments.out, NAMES, texts)?;
    if arguments.json {
        return output::json_text(&results);
    }
    show(&serde_json::from_str::<Vec<Row>>(&results)?)?;
    output::line("")?;
    output::line(format!("Results: {}; the page: {}", json.display(), page.display()))
}

fn show(rows: &[Row]) -> Result<()> {
    let headings =
        ["case", "algorithm", "deviation>", "parameters>", "rank>", "bound>", "degree>", "LyCORIS"];
    let mut table = output::table(&headings);
    for row in rows {
        let reload = match &row.reload {
            Reload::Exact => "reloads it".to_string(),
            Reload::Deviates(by) => format!("reloads it {by:.2} off"),
            Reload::Error(_) => "cannot reload it".to_string(),
        };
        table.add_row([
            if row.start_beside { format!("{}*", row.case) } else { row.case.clone() },
            row.algorithm.clone(),
            match row.deviation {
                0.0 => format!("< {FLOOR:e}"),
                deviation => format!("{deviation:e}"),
            },
            row.parameters.to_string(),
            row.rank.to_string(),
            row.rank_bound.to_string(),
            row.degree.clone(),
            reload,
        ]);
    }
    output::show(&table)?;
    output::line(
        "* read with the factors that it started from, kept in a file beside: LyCORIS does not save them",
    )?;
    let worst = rows.iter().map(|row| row.deviation).fold(0.0, f64::max);
    let weights: usize = rows.iter().map(|row| row.weights).sum();
    output::line("")?;
    output::line(format!(
        "{weights} weights of {} files; the largest relative deviation from LyCORIS is {worst:e}",
        rows.len()
    ))
}
