//! The steps of a generation.

use burn::tensor::{DType, Tensor};

use super::{Noise, Pipeline, code::all_finite, conditions::Conditions};
use crate::{
    ModelError,
    schedulers::{Scheduler, Sigmas, scheduler},
    text::BACKTRACK,
    unet::time::guidance,
};

/// What is to be generated.
#[derive(Debug, Clone)]
pub struct Request {
    /// What the image shows: weights as in `(word:1.2)`, texts that change from step to step, `BREAK`
    /// and `AND`, as the web UI reads them.
    pub prompt: String,
    /// What it does not show; the same but for `AND`.
    pub negative: Option<String>,
    /// The scheduler; the model's own if there is none.
    pub scheduler: Option<String>,
    /// How its levels of noise are spread, if not as the model's configuration has it.
    pub sigmas: Option<Sigmas>,
    /// Number of steps.
    pub steps: usize,
    /// How much more the image follows the prompt than the negative one; up to 1 only the prompt
    /// counts. A model of LCM's is told it, and has no negative prompt.
    pub guidance: f64,
    /// Share by which guidance is kept from changing the deviation.
    pub guidance_rescale: f64,
    /// Layers of the text encoder to leave out, as diffusers counts.
    pub clip_skip: usize,
    /// The same for the negative prompt; diffusers leaves out none, the web UIs as many.
    pub negative_clip_skip: usize,
    /// How many of the last tokens of a full chunk of a prompt are looked through for a comma to end it at:
    /// [`BACKTRACK`] as in the web UI, 0 for none.
    pub backtrack: usize,
    /// Height and width in pixels; if there are none, those of the image or the noise that is given,
    /// else those of the model's training.
    pub size: Option<[usize; 2]>,
    /// Seed of the first image; each further one has the next.
    pub seed: u64,
    /// Number of images.
    pub count: usize,
    /// An image to begin with, `[1, 3, h, w]` in [-1, 1], and the share of the steps that make it
    /// again.
    pub image: Option<(Tensor<4>, f64)>,
    /// Noise of unit variance, of the shape of the latents each, in place of as much from the seed: that of
    /// the begin, then what the steps draw.
    pub noise: Vec<Tensor<4>>,
    /// Side of the tiles in which images are encoded and decoded, in pixels; in one piece if there is
    /// none.
    pub tile: Option<usize>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative: None,
            scheduler: None,
            sigmas: None,
            steps: 50,
            guidance: 7.5,
            guidance_rescale: 0.0,
            clip_skip: 0,
            negative_clip_skip: 0,
            backtrack: BACKTRACK,
            size: None,
            seed: 0,
            count: 1,
            image: None,
            noise: Vec::new(),
            tile: None,
        }
    }
}

/// What was generated.
#[derive(Debug, Clone)]
pub struct Generated {
    /// What the UNet made: latents, `[count, 4, h/8, w/8]`, scaled as it has them, or pixels.
    pub latents: Tensor<4>,
    /// The images, `[count, 3, h, w]`, about in [-1, 1].
    pub images: Tensor<4>,
}

/// Pixels of all images of a request: as single-precision colours, 12 GiB.
const MOST_PIXELS: usize = 1 << 30;

/// Told of every step: how many are made, and of how many.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);

/// What a request comes to before its first step.
struct Begun {
    size: [usize; 2],
    scheduler: Box<dyn Scheduler>,
    conditions: Conditions,
}

impl Request {
    /// Number of images, which given noise decides.
    pub fn images(&self) -> usize {
        self.noise.first().map_or(self.count, |noise| noise.dims()[0])
    }

    /// Height and width in pixels of what is given, and what that is.
    fn given(&self, factor: usize) -> Option<(&'static str, [usize; 2])> {
        match (&self.image, self.noise.first()) {
            // What is left over at the edges no latent covers.
            (Some((image, _)), _) => {
                Some(("image", [2, 3].map(|axis| image.dims()[axis] / factor * factor)))
            }
            (None, Some(noise)) => Some(("noise", [2, 3].map(|axis| noise.dims()[axis] * factor))),
            (None, None) => None,
        }
    }

    /// Height and width of the images in pixels, for a UNet that was trained on `own` latents of which each
    /// covers `factor` pixels a side.
    ///
    /// # Errors
    /// As [`Pipeline::size`].
    pub(super) fn size_with(
        &self,
        own: Option<[usize; 2]>,
        factor: usize,
    ) -> Result<[usize; 2], ModelError> {
        let given = self.given(factor);
        if let (Some([h, w]), Some((what, size))) = (self.size, given)
            && size != [h, w]
        {
            let reason = format!("is {w}x{h}; the {what} is of {}x{}", size[1], size[0]);
            return Err(ModelError::input("size", reason));
        }
        let own = own.unwrap_or([64, 64]).map(|side| side.saturating_mul(factor));
        let [h, w] = given.map(|(_, size)| size).or(self.size).unwrap_or(own);
        let pixels = [h, w, self.images()].iter().try_fold(1usize, |n, by| n.checked_mul(*by));
        if pixels.is_none_or(|pixels| pixels > MOST_PIXELS) {
            let reason = format!("is {w}x{h}, {} times; make fewer or smaller", self.images());
            return Err(ModelError::input("size", reason));
        }
        match h > 0 && w > 0 && h.is_multiple_of(factor) && w.is_multiple_of(factor) {
            true => Ok([h, w]),
            false => {
                let reason = format!("is {w}x{h}; give multiples of {factor}, {factor} at least");
                Err(ModelError::input("size", reason))
            }
        }
    }
}

impl Pipeline {
    /// Height and width of the images that a request asks for, in pixels.
    ///
    /// # Errors
    /// When they are no multiples of what a latent covers or not those of what is given, or there are
    /// more pixels than memory holds.
    pub fn size(&self, request: &Request) -> Result<[usize; 2], ModelError> {
        request.size_with(self.unet.config().sample_size, self.factor())
    }

    /// That a request can be met, as far as that is known before.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check_request(&self, request: &Request) -> Result<(), ModelError> {
        self.begun(request).map(drop)
    }

    fn begun(&self, request: &Request) -> Result<Begun, ModelError> {
        let size = self.size(request)?;
        for (name, number) in
            [("guidance", request.guidance), ("guidance rescale", request.guidance_rescale)]
        {
            if !number.is_finite() {
                return Err(ModelError::input(name, format!("is {number}; give a number")));
            }
        }
        if request.images() == 0 {
            return Err(ModelError::input("count", "is 0; at least one image is needed"));
        }
        let name = request.scheduler.as_deref();
        let config = match name {
            None if self.revises_scheduler => self.scheduler.clone().revised(),
            _ => self.scheduler.clone(),
        };
        let scheduler = scheduler(name, request.sigmas, &config, request.steps)?;
        let told = self.unet.config().guidance_width.is_some();
        let calls = request.steps * scheduler.calls();
        let conditions = Conditions::of(self, request, calls, told)?;
        Ok(Begun { size, scheduler, conditions })
    }

    /// Generates images.
    ///
    /// # Errors
    /// When the request cannot be met, or latents are no longer finite: the step is named.
    pub fn generate(&self, request: &Request, progress: Progress) -> Result<Generated, ModelError> {
        let Begun { size: [height, width], mut scheduler, conditions } = self.begun(request)?;
        let (count, factor) = (request.images(), self.factor());
        let shape = [count, self.unet.config().out_channels, height / factor, width / factor];
        let tiles = request.tile.map(|pixels| self.tiles(pixels)).transpose()?;
        let given = request.noise.iter().map(|noise| self.given(noise, shape));
        let given = given.collect::<Result<Vec<_>, _>>()?;
        let mut noise = Noise::new(request.seed, count).after(given);

        let told = self.unet.config().guidance_width;
        let told = told.map(|width| guidance(request.guidance, width, &self.device));
        let mut stages = conditions.stages(0);
        let mut batch = conditions.batch(self, &stages, [height, width], count);

        // Latents are in single precision, whatever the models compute in.
        let blank = Tensor::<4>::zeros(shape, (&self.device, DType::F32));
        let begin = noise.like(&blank);
        let (mut latents, first) = match &request.image {
            Some((image, strength)) => {
                let first = first_step(request.steps, *strength)? * scheduler.calls();
                let image = image.clone().narrow(2, 0, height).narrow(3, 0, width);
                let latents = self.code(image, tiles).cast(DType::F32).expand(shape);
                (scheduler.noised(latents, begin, first), first)
            }
            None => (begin.mul_scalar(scheduler.initial_deviation()), 0),
        };

        let total = scheduler.times().len();
        for step in first..total {
            let time = scheduler.times()[step];
            // As the web UI counts, from the first step that is made.
            let now = conditions.stages(step - first);
            if now != stages {
                batch = conditions.batch(self, &now, [height, width], count);
                stages = now;
            }
            let shown = scheduler.shown(latents.clone(), step);
            let shown = Tensor::cat(vec![shown; conditions.copies()], 0);
            let times = Tensor::from_data([time as f32], (&self.device, DType::F32));
            let output = self.unet.forward_guided(
                shown.cast(self.dtype),
                times,
                batch.context.clone(),
                batch.added.as_ref(),
                told.clone(),
            );
            let output = conditions.guided(output.cast(DType::F32), count);
            latents = scheduler.step(step, latents, output, &mut |like| noise.like(like));
            if !all_finite(&latents) {
                let reason = format!(
                    "are no longer finite after step {} of {total}, at the time {time}",
                    step + 1
                );
                return Err(ModelError::input("latents", reason));
            }
            progress(step + 1 - first, total - first);
        }
        let images = self.decode(latents.clone(), tiles)?;
        Ok(Generated { latents, images })
    }

    /// Given noise, checked and where and what it has to be.
    fn given(&self, noise: &Tensor<4>, shape: [usize; 4]) -> Result<Tensor<4>, ModelError> {
        if noise.dims() != shape {
            let reason = format!("is {:?}; {shape:?} is needed", noise.dims());
            return Err(ModelError::input("noise", reason));
        }
        if !all_finite(noise) {
            return Err(ModelError::input("noise", "is not finite"));
        }
        Ok(noise.clone().to_device(&self.device).cast(DType::F32))
    }
}

/// The step at which an image is taken up again: that far into the scheduler's times, of which there
/// may be more.
fn first_step(steps: usize, strength: f64) -> Result<usize, ModelError> {
    if !(0.0..=1.0).contains(&strength) {
        let reason = format!("is {strength}; give a number between 0 and 1");
        return Err(ModelError::input("strength", reason));
    }
    match (steps as f64 * strength) as usize {
        0 => Err(ModelError::input("strength", format!("{strength} leaves none of {steps} steps"))),
        again => Ok(steps - again),
    }
}
