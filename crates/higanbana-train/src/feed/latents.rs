//! The latents of what samples show.

use burn::tensor::TensorData;
use higanbana_diffusion::{Pipeline, pipeline::ImageFile};

use super::{Feed, sample::Shown};
use crate::{
    TrainError,
    data::{
        cache::{self, Tensors},
        resample::{fitted, resized},
    },
};

/// What is to have another name where images are read, scaled or cut in another way.
const KIND: &[u8] = b"latents 2";

impl Feed {
    /// Mean and variance of the latents of what a sample shows; where the loss has a mask, that too.
    pub(super) fn latents(
        &mut self,
        shown: &Shown,
        pipeline: &Pipeline,
    ) -> Result<Tensors, TrainError> {
        let (picture, view) = (&self.pictures[shown.index], shown.view);
        let colour = self.data.backgrounds.as_ref().zip(shown.background);
        let colour = colour.map(|(backgrounds, index)| backgrounds.colours[index].colour);
        let masked = self.data.alpha_mask && picture.transparent;
        let mut make = || {
            // The next image may be of the same sheet.
            if self.open.as_ref().is_none_or(|(path, _)| *path != picture.path) {
                self.open = Some((picture.path.clone(), ImageFile::read(&picture.path)?));
            }
            let (_, file) = self.open.as_ref().expect("it has just been opened");
            let (mut pixels, alpha) = picture.of(file);
            if let (Some(colour), Some(alpha)) = (colour, &alpha) {
                colour.put_behind(&mut pixels.rgb, alpha);
            }
            let posterior = pipeline.posterior(fitted(&pixels, &view, &pipeline.device), None);
            let mean = posterior.mean.into_data();
            if !mean.iter::<f32>().all(f32::is_finite) {
                let reason = format!("its latents are not finite in {}", mean.dtype().name());
                return Err(TrainError::Data { path: picture.path.clone(), reason });
            }
            let mask = alpha.filter(|_| masked).map(|alpha| {
                let [_, _, h, w] = dims(&mean);
                let [width, height] = view.fit.bucket;
                let alpha = resized::<1>(&alpha, pixels.size, &view);
                TensorData::new(mean_opacity(&alpha, [height, width], [h, w]), [1, 1, h, w])
            });
            let tensors = [("mean", mean), ("logvar", posterior.logvar.into_data())];
            let tensors = tensors.into_iter().chain(mask.map(|mask| ("mask", mask)));
            Ok(tensors.map(|(name, data)| (name.to_string(), data)).collect())
        };
        // Of parts that change with every sample there is no end.
        if self.concepts[picture.concept].random_crop {
            return make();
        }
        let places = [view.fit.scaled, view.fit.bucket, view.corner].concat();
        let mut about: Vec<u8> =
            places.iter().flat_map(|place| (*place as u64).to_le_bytes()).collect();
        about.extend([u8::from(view.mirrored), u8::from(masked)]);
        about.extend(colour.iter().flat_map(|colour| colour.rgb()));
        let key = cache::key(&[KIND, &self.vae, &about, &picture.hash]);
        self.cache.get(key, make)
    }
}

/// How opaque the pixels behind each pixel of the latents are on average, from 0 to 1: as PyTorch's `interpolate`
/// has it with `mode="area"`.
fn mean_opacity(alpha: &[u8], [height, width]: [usize; 2], [h, w]: [usize; 2]) -> Vec<f32> {
    let span = |i: usize, old: usize, new: usize| i * old / new..((i + 1) * old).div_ceil(new);
    let mean = |(y, x): (usize, usize)| {
        let (rows, columns) = (span(y, height, h), span(x, width, w));
        let count = rows.len() * columns.len();
        let row = |y: usize| alpha[y * width..][columns.clone()].iter().map(|it| u64::from(*it));
        rows.flat_map(row).sum::<u64>() as f32 / (count as f32 * f32::from(u8::MAX))
    };
    (0..h).flat_map(|y| (0..w).map(move |x| (y, x))).map(mean).collect()
}

/// The sizes of latents.
pub(super) fn dims(data: &TensorData) -> [usize; 4] {
    let shape = data.shape();
    [shape[0], shape[1], shape[2], shape[3]]
}
