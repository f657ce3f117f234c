//! Images on the way: a contact sheet that grows by a row.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use higanbana_diffusion::{
    Pipeline, Request,
    pipeline::{Pixels, png, to_pixels},
};
use higanbana_io::writer::write_bytes;

use crate::{TrainError, recipe::Sample};

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

/// Makes the images of a row and puts it below the others of `folder`, whose rows are
/// `samples/step-N.png` and whose sheet is `samples.png`.
///
/// # Errors
/// When an image cannot be made, or a file not be written.
pub fn add_row(
    folder: &Path,
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
    let rows = folder.join("samples");
    fs::create_dir_all(&rows).map_err(|error| TrainError::Data {
        path: rows.clone(),
        reason: format!("cannot be made ({error})"),
    })?;
    let row = beside(&images, [0, 1]);
    let about = format!("step {step}: {}", sample.prompts.join(" | "));
    let path = rows.join(format!("step-{step:08}.png"));
    write_bytes(&path, &png(row.size, &row.rgb, &about)?, true)?;

    let sheet = beside(&all(&rows)?, [1, 0]);
    write_bytes(&folder.join("samples.png"), &png(sheet.size, &sheet.rgb, &about)?, true)?;
    Ok(())
}

/// Removes the sheet and the rows of an earlier run.
///
/// # Errors
/// When that is not possible.
pub fn clear(folder: &Path) -> Result<(), TrainError> {
    let (rows, sheet) = (folder.join("samples"), folder.join("samples.png"));
    let gone = |path: &Path, removed: io::Result<()>| match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TrainError::Data {
            path: path.into(),
            reason: format!("cannot be removed ({error})"),
        }),
        _ => Ok(()),
    };
    gone(&rows, fs::remove_dir_all(&rows))?;
    gone(&sheet, fs::remove_file(&sheet))
}

/// The rows so far, in the order of their steps.
fn all(rows: &Path) -> Result<Vec<Pixels>, TrainError> {
    let entries = fs::read_dir(rows).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    paths.sort();
    paths.iter().map(|path| Ok(Pixels::read(path)?)).collect()
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
