//! Images on the way: a contact sheet that grows by a row.

use higanbana_diffusion::{
    Pipeline, Request,
    pipeline::{Pixels, png, to_pixels},
};
use higanbana_io::ledger::Ledger;

use crate::{TrainError, recipe::Sample};

/// What the names of rows in the folder of a run begin with.
pub const ROWS: &str = "samples/step-";
/// Name of the sheet there.
pub const SHEET: &str = "samples.png";

/// Pixels between two images.
pub const GAP: usize = 2;

/// What is asked of the pipeline for a row, one of each prompt.
fn requests(sample: &Sample, clip_skip: usize) -> impl Iterator<Item = Request> {
    sample.prompts.iter().zip(0..).map(move |(prompt, index)| Request {
        prompt: prompt.clone(),
        negative: sample.negative.clone(),
        scheduler: sample.scheduler.clone(),
        steps: sample.steps,
        guidance: sample.guidance,
        clip_skip,
        size: sample.size,
        seed: sample.seed.wrapping_add(index),
        ..Request::default()
    })
}

/// That a pipeline can make a row.
///
/// # Errors
/// When it cannot.
pub fn check(sample: &Sample, clip_skip: usize, pipeline: &Pipeline) -> Result<(), TrainError> {
    requests(sample, clip_skip).try_for_each(|request| {
        let wrong = |error| TrainError::recipe("RUN.toml", format!("sample: {error}"));
        pipeline.check_request(&request).map_err(wrong)
    })
}

/// Makes the images of a row and puts it below the others of the run, whose rows are `samples/step-N.png`
/// and whose sheet is `samples.png`.
///
/// # Errors
/// When an image cannot be made, or a file not be written.
pub fn add_row(
    files: &mut Ledger,
    step: usize,
    sample: &Sample,
    clip_skip: usize,
    pipeline: &Pipeline,
) -> Result<(), TrainError> {
    let mut images = Vec::new();
    for request in requests(sample, clip_skip) {
        let made = pipeline.generate(&request, &mut |_, _| ())?.images;
        let [_, _, height, width] = made.dims();
        let rgb = to_pixels(made).swap_remove(0);
        images.push(Pixels { size: [height, width], rgb });
    }
    let about = format!("step {step}: {}", sample.prompts.join(" | "));
    let write = |files: &mut Ledger, name: &str, image: Pixels| {
        let bytes = png(image.size, &image.rgb, &about)?;
        Ok::<_, TrainError>(files.write_bytes(name, &bytes)?)
    };
    write(files, &format!("{ROWS}{step:08}.png"), beside(&images, [0, 1]))?;
    let sheet = beside(&all(files)?, [1, 0]);
    write(files, SHEET, sheet)
}

/// Removes the sheet and the rows of an earlier run.
///
/// # Errors
/// When that is not possible.
pub fn clear(files: &mut Ledger) -> Result<(), TrainError> {
    for name in files.files(ROWS).iter().map(String::as_str).chain([SHEET]) {
        files.remove(name)?;
    }
    Ok(())
}

/// The rows so far, in the order of their steps.
fn all(files: &Ledger) -> Result<Vec<Pixels>, TrainError> {
    let names = files.files(ROWS);
    names.iter().map(|name| Ok(Pixels::read(&files.folder().join(name))?)).collect()
}

/// Images below each other, `[1, 0]`, or side by side, `[0, 1]`, on white.
fn beside(images: &[Pixels], [down, right]: [usize; 2]) -> Pixels {
    let sizes = || images.iter().map(|image| image.size);
    let along = |i: usize| sizes().map(|size| size[i] + GAP).sum::<usize>().saturating_sub(GAP);
    let across = |i: usize| sizes().map(|size| size[i]).max().unwrap_or(0);
    let height = if down == 1 { along(0) } else { across(0) };
    let width = if right == 1 { along(1) } else { across(1) };
    let mut rgb = vec![255; height * width * 3];
    let [mut top, mut left] = [0, 0];
    for image in images {
        let [h, w] = image.size;
        for (y, row) in image.rgb.chunks(w * 3).enumerate() {
            let at = ((top + y) * width + left) * 3;
            rgb[at..at + w * 3].copy_from_slice(row);
        }
        top += down * (h + GAP);
        left += right * (w + GAP);
    }
    Pixels { size: [height, width], rgb }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_stand_beside_and_below_each_other() {
        let image = |h, w, value| Pixels { size: [h, w], rgb: vec![value; h * w * 3] };
        let row = beside(&[image(2, 1, 10), image(1, 2, 20)], [0, 1]);
        assert_eq!(row.size, [2, 5]);
        let red: Vec<u8> = row.rgb.iter().step_by(3).copied().collect();
        assert_eq!(red, [10, 255, 255, 20, 20, 10, 255, 255, 255, 255]);
        let sheet = beside(&[image(1, 1, 10), image(1, 2, 20)], [1, 0]);
        assert_eq!(sheet.size, [4, 2]);
        let red: Vec<u8> = sheet.rgb.iter().step_by(3).copied().collect();
        assert_eq!(red, [10, 255, 255, 255, 255, 255, 20, 20]);
    }
}
