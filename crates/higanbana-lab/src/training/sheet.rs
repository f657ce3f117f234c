//! Contact sheets of several runs, image below image.

use std::{fmt::Write, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use higanbana_diffusion::pipeline::Pixels;
use higanbana_train::sheet::GAP;

use super::run::TrainingRun;
use crate::{plot::escape, study::Figure};

/// Prompts of a band.
const COLUMNS: usize = 8;
const SIDE: usize = 48;
const LEFT: usize = 56;
const HEAD: usize = 16;

/// A figure for all runs that made images from the same prompts.
pub(super) fn figures(runs: &[TrainingRun]) -> Vec<Figure> {
    let mut left: Vec<&TrainingRun> = runs.iter().filter(|run| run.rows.is_some()).collect();
    let mut figures = Vec::new();
    while let Some(first) = left.first() {
        let prompts = prompts_of(first).to_vec();
        let (these, others) = left.into_iter().partition(|run| prompts == prompts_of(run));
        left = others;
        figures.extend(figure(&prompts, &these, figures.len()));
    }
    figures
}

fn prompts_of(run: &TrainingRun) -> &[String] {
    run.recipe.sample.as_ref().map_or(&[], |sample| &sample.prompts)
}

fn figure(prompts: &[String], runs: &[&TrainingRun], number: usize) -> Option<Figure> {
    let before = &runs.first()?.rows.as_ref()?[0];
    let after = runs.iter().filter_map(|run| Some((&*run.name, &run.rows.as_ref()?[1])));
    let rows: Vec<(&str, &Vec<u8>)> = [("before", before)].into_iter().chain(after).collect();
    let [height, width] = Pixels::decode(Path::new("row"), before).ok()?.size;
    let across = (width + GAP).checked_div(prompts.len())?;
    let step = SIDE + GAP;
    let band = HEAD + rows.len() * step;
    let full = [LEFT + COLUMNS * step, prompts.len().div_ceil(COLUMNS) * band];
    let mut svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"Images before and after\"><defs>",
        full[0], full[1]
    );
    for (row, (_, png)) in rows.iter().enumerate() {
        let _ = write!(
            svg,
            "<image id=\"row-{number}-{row}\" width=\"{width}\" height=\"{height}\" \
             style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>",
            STANDARD.encode(png)
        );
    }
    svg.push_str("</defs>");
    for (index, prompt) in prompts.iter().enumerate() {
        let (x, top) = (LEFT + index % COLUMNS * step, index / COLUMNS * band);
        let (middle, below, name) = (x + SIDE / 2, top + HEAD - 4, escape(prompt));
        let _ = write!(
            svg,
            "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\" font-size=\"7\">{name}</text>"
        );
        for (row, (label, _)) in rows.iter().enumerate() {
            let y = top + HEAD + row * step;
            if index.is_multiple_of(COLUMNS) {
                let (x, y) = (LEFT - 6, y + SIDE / 2 + 3);
                let label = escape(label);
                let _ = write!(
                    svg,
                    "<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\" font-size=\"9\">{label}</text>"
                );
            }
            let (from, side) = (index * across, across - GAP);
            let _ = write!(
                svg,
                "<svg x=\"{x}\" y=\"{y}\" width=\"{SIDE}\" height=\"{SIDE}\" \
                 viewBox=\"{from} 0 {side} {height}\"><use href=\"#row-{number}-{row}\"/></svg>"
            );
        }
    }
    svg.push_str("</svg>");
    let caption = "What the model made of each prompt before, and after each training: the same noise, the \
                   same steps.";
    Some(Figure { caption: caption.into(), svg })
}
