//! From images to batches: latents, noise, times and texts.

use burn::tensor::{DType, Tensor, TensorData};
use higanbana_diffusion::{
    Added, Pipeline, VaeConfig,
    pipeline::{Text, captions},
    schedulers::Prediction,
};
use rand::RngExt;

use crate::{
    TrainError,
    data::{
        Captions, Concept, Data, Order, Picture, Problem,
        bucket::{Fit, cover},
        cache::{self, Cache, Tensors},
        resample::fitted,
        scan,
    },
    network::{Batch, Network},
    objective::noise::normal,
    random::stream,
    task::Task,
};

/// Images with everything that a batch of them needs.
#[derive(Debug)]
pub struct Feed {
    /// The images.
    pub pictures: Vec<Picture>,
    /// How each lies in its bucket.
    pub fits: Vec<Fit>,
    /// Those that are left out, and why.
    pub left_out: Vec<Problem>,
    concepts: Vec<Concept>,
    data: Data,
    cache: Cache,
    /// What latents and texts follow from, besides the image or the text.
    vae: [u8; 32],
    text: [u8; 32],
}

/// What the draws of a batch follow from.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the first sample of the batch; the others follow.
    pub first: u64,
    /// Whether captions are taken as they are, and nothing is mirrored.
    pub plain: bool,
}

impl Draw {
    /// The times of a batch of `count` samples.
    pub fn times(&self, count: usize, task: &Task) -> Vec<usize> {
        let [from, to] = task.objective.times.unwrap_or([0, task.schedule.len()]);
        let numbers = self.first..self.first + count as u64;
        numbers.map(|number| stream(self.seed, "time", number).random_range(from..to)).collect()
    }
}

impl Feed {
    /// Reads the images of a recipe.
    ///
    /// # Errors
    /// When a folder cannot be read, no image is left, or, unless `skip_bad`, one cannot be used: all of
    /// them are listed.
    pub fn new(data: &Data, concepts: &[Concept], skip_bad: bool) -> Result<Self, TrainError> {
        let (pictures, left_out) = scan(concepts)?;
        if !left_out.is_empty() && (!skip_bad || pictures.is_empty()) {
            return Err(TrainError::Problems(left_out));
        }
        let fit = |picture: &Picture| {
            let [height, width] = picture.size;
            match &data.buckets {
                Some(buckets) => buckets.fit([width, height], data.resolution),
                None => cover([width, height], data.resolution.size()),
            }
        };
        Ok(Self {
            fits: pictures.iter().map(fit).collect(),
            pictures,
            left_out,
            concepts: concepts.to_vec(),
            data: data.clone(),
            cache: Cache::new(data.cache.as_deref())?,
            vae: [0; 32],
            text: [0; 32],
        })
    }

    /// Makes the latents of all images; texts are made when they are first seen. `tell` is told of each
    /// image.
    ///
    /// # Errors
    /// When an image does not suit the autoencoder, a caption the text encoders, or a file cannot be
    /// written.
    pub fn prepare(
        &mut self,
        pipeline: &Pipeline,
        tell: &mut dyn FnMut(&str, usize),
    ) -> Result<(), TrainError> {
        if self.data.cache.is_some() {
            self.vae = pipeline.vae.as_ref().map_or([0; 32], |vae| {
                // Latents are kept as they are before that.
                cache::model(vae, &VaeConfig { scaling: 1.0, ..vae.config().clone() })
            });
            let encoders =
                pipeline.encoders.iter().map(|it| cache::model(&it.model, it.model.config()));
            let tokens = pipeline.encoders.iter().flat_map(|it| it.tokenizer.learnt());
            let tokens = tokens.map(|token| cache::key(&[format!("{token:?}").as_bytes()]));
            self.text = cache::key(&[&encoders.chain(tokens).collect::<Vec<_>>().concat()]);
        }
        self.texts(&[String::new()], pipeline, None)
            .map_err(|error| TrainError::recipe("RUN.toml", format!("data: {error}")))?;
        let count = self.pictures.len();
        let factor = pipeline.factor();
        for index in 0..count {
            let (picture, [w, h]) = (&self.pictures[index], self.fits[index].bucket);
            let wrong = |reason: String| TrainError::Data { path: picture.path.clone(), reason };
            if w.min(h) < factor {
                let reason =
                    format!("is {w}x{h} in its bucket; {factor} pixels are one of latents");
                return Err(wrong(reason));
            }
            let how = Captions { dropout: 0.0, ..self.captions(index).clone() };
            let text = how.text(&picture.caption, 0, 0);
            for encoder in &pipeline.encoders {
                let reason = |error| wrong(format!("its caption cannot be used: {error}"));
                encoder.tokenizer.tokens(&text).map_err(reason)?;
            }
            let flip = self.concepts[picture.concept].flip;
            tell("latents", count);
            self.latents(index, false, pipeline)?;
            if flip {
                self.latents(index, true, pipeline)?;
            }
        }
        Ok(())
    }

    /// The order of samples: those of regularisation as often as all others together.
    pub fn order(&self, seed: u64, batch: usize) -> Order {
        let regular = |index: &usize| self.is_regular(*index);
        let (regular, trained): (Vec<usize>, Vec<usize>) =
            (0..self.pictures.len()).partition(regular);
        let repeated = |indices: Vec<usize>| -> Vec<usize> {
            let each = |index: &usize| vec![*index; self.pictures[*index].repeats];
            indices.iter().flat_map(each).collect()
        };
        let mut samples = repeated(trained);
        let regular = repeated(regular);
        let count = if regular.is_empty() { 0 } else { samples.len() };
        samples.extend(regular.into_iter().cycle().take(count));
        let mut shapes = std::collections::BTreeMap::<[usize; 2], Vec<usize>>::new();
        for sample in samples {
            shapes.entry(self.fits[sample].bucket).or_default().push(sample);
        }
        Order::new(seed, batch, shapes.into_values().collect())
    }

    /// Whether a caption holds a token that the pipeline has learnt.
    pub fn says(&self, token: &str, pipeline: &Pipeline) -> bool {
        (0..self.pictures.len()).any(|index| {
            let how = Captions { dropout: 0.0, tag_dropout: 0.0, ..self.captions(index).clone() };
            pipeline.holds(&how.text(&self.pictures[index].caption, 0, 0), token)
        })
    }

    /// How the caption of an image becomes a text.
    fn captions(&self, index: usize) -> &Captions {
        self.concepts[self.pictures[index].concept].captions(&self.data)
    }

    /// SHA-256 of what a training sees of the images: what they are, what they are called, how often each
    /// counts.
    pub fn identity(&self) -> [u8; 32] {
        let each = self
            .pictures
            .iter()
            .map(|it| cache::key(&[&it.hash, it.caption.as_bytes(), &it.repeats.to_le_bytes()]));
        cache::key(&[&each.collect::<Vec<_>>().concat()])
    }

    /// Whether an image is one of regularisation.
    pub fn is_regular(&self, index: usize) -> bool {
        self.concepts[self.pictures[index].concept].regularisation
    }

    /// A batch of these images at these times. The network is the one that will see it: it encodes the
    /// texts where that is trained.
    ///
    /// # Errors
    /// When a text or latents cannot be had.
    pub fn batch(
        &mut self,
        images: &[usize],
        times: &[usize],
        draw: Draw,
        task: &Task,
        pipeline: &Pipeline,
        network: &Network,
    ) -> Result<Batch, TrainError> {
        let device = Network::device(pipeline);
        let objective = &task.objective;
        let (mut clean, mut noise, mut extra) = (Vec::new(), Vec::new(), Vec::new());
        let (mut texts, mut sizes) = (Vec::new(), Vec::new());
        let mut shape = [0; 3];
        for (number, &index) in (draw.first..).zip(images) {
            let picture = &self.pictures[index];
            let concept = &self.concepts[picture.concept];
            let mut rng = stream(draw.seed, "sample", number);
            let mirrored = rng.random_bool(0.5) && concept.flip && !draw.plain;
            texts.push(match draw.plain {
                true => Captions::default().text(&picture.caption, 0, 0),
                false => self.captions(index).text(&picture.caption, draw.seed, number),
            });
            let (fit, [h, w]) = (self.fits[index], picture.size);
            let [left, top] = fit.corner();
            let [bucket_w, bucket_h] = fit.bucket;
            sizes.extend([h, w, top, left, bucket_h, bucket_w].map(|n| n as f32));

            let latents = self.latents(index, mirrored, pipeline)?;
            let [_, c, h, w] = dims(&latents["mean"]);
            shape = [c, h, w];
            let z = sampled(&latents, pipeline.scaling(), &normal(c * h * w, &mut rng));
            noise.extend(objective.noise(&z, shape, &mut rng));
            if objective.input_perturbation > 0.0 {
                extra.extend(normal(c * h * w, &mut rng));
            }
            clean.extend(z);
        }
        let [c, h, w] = shape;
        let maps = |values: Vec<f32>| {
            let data = TensorData::new(values, [images.len(), c, h, w]);
            Tensor::<4>::from_data(data, (&device, DType::F32))
        };
        let (z, n) = (maps(clean), maps(noise));
        let seen = match extra.is_empty() {
            true => n.clone(),
            false => n.clone() + maps(extra).mul_scalar(objective.input_perturbation),
        };
        let noisy = task.schedule.add_noise(z.clone(), seen, times).cast(pipeline.dtype);
        let target = match task.prediction {
            Prediction::Epsilon => n,
            Prediction::Velocity => task.schedule.velocity(z, n, times),
        };
        let time_ids = TensorData::new(sizes, [images.len(), 6]);
        let time_ids = Tensor::<2>::from_data(time_ids, (&device, DType::F32));
        let conditions = |Text { context, pooled }: Text| {
            let added = pipeline.unet.config().text_time;
            let added = added.map(|_| Added { text_embeds: pooled, time_ids: time_ids.clone() });
            (context, added)
        };
        let (context, added) = conditions(self.texts(&texts, pipeline, Some(network))?);
        let regular: Vec<bool> = images.iter().map(|index| self.is_regular(*index)).collect();
        let weights = regular.iter().map(|is| if *is { objective.prior_weight } else { 1.0 });
        let weights = weights.collect();
        let times = times.to_vec();
        let mut batch = Batch { noisy, target, times, weights, context, added };
        if objective.preserve_output && regular.contains(&true) && !draw.plain {
            // The frozen model has text encoders too.
            let frozen = conditions(self.texts(&texts, pipeline, None)?);
            batch.target = preserved(&batch, frozen, &regular, pipeline);
        }
        Ok(batch)
    }

    /// The texts of a batch: from the cache, or, where there is a network that trains the encoders, anew.
    fn texts(
        &mut self,
        texts: &[String],
        pipeline: &Pipeline,
        network: Option<&Network>,
    ) -> Result<Text, TrainError> {
        let (count, skip) = (self.data.chunks, self.data.clip_skip);
        let tokenizers = pipeline.encoders.iter().map(|encoder| &encoder.tokenizer);
        if let Some(network) = network.filter(|network| network.trains_text()) {
            let models: Vec<_> = tokenizers.zip(&network.encoders).collect();
            return Ok(captions(&models, texts, count, skip)?);
        }
        let models: Vec<_> = pipeline.encoders.iter().map(|e| (&e.tokenizer, &e.model)).collect();
        let mut encoded = Vec::new();
        for text in texts {
            let about = [count as u64, skip as u64].map(u64::to_le_bytes).concat();
            let key = cache::key(&[b"text", &self.text, &about, text.as_bytes()]);
            let make = || {
                let made = captions(&models, std::slice::from_ref(text), count, skip)?;
                Ok(Tensors::from([
                    ("context".to_string(), made.context.into_data()),
                    ("pooled".to_string(), made.pooled.into_data()),
                ]))
            };
            // Of captions that change there is no end.
            let fixed = self.concepts.iter().all(|it| it.captions(&self.data).is_fixed());
            encoded.push(if fixed { self.cache.get(key, make)? } else { make()? });
        }
        let on = |name: &str| encoded.iter().map(|it| it[name].clone()).collect::<Vec<_>>();
        let options = (&Network::device(pipeline), pipeline.dtype);
        let context = on("context").into_iter().map(|data| Tensor::from_data(data, options));
        let pooled = on("pooled").into_iter().map(|data| Tensor::from_data(data, options));
        Ok(Text {
            context: Tensor::cat(context.collect(), 0),
            pooled: Tensor::cat(pooled.collect(), 0),
        })
    }

    /// Mean and variance of the latents of an image.
    fn latents(
        &mut self,
        index: usize,
        mirrored: bool,
        pipeline: &Pipeline,
    ) -> Result<Tensors, TrainError> {
        let (picture, fit) = (&self.pictures[index], self.fits[index]);
        let about: Vec<u8> = [fit.scaled, fit.bucket]
            .concat()
            .iter()
            .flat_map(|side| (*side as u64).to_le_bytes())
            .chain([u8::from(mirrored)])
            .collect();
        let key = cache::key(&[b"latents", &self.vae, &about, &picture.hash]);
        self.cache.get(key, || {
            let image = fitted(&picture.pixels()?, &fit, mirrored, &pipeline.device);
            let posterior = pipeline.posterior(image, None);
            let mean = posterior.mean.into_data();
            if !mean.iter::<f32>().all(f32::is_finite) {
                let reason = format!("its latents are not finite in {}", mean.dtype().name());
                return Err(TrainError::Data { path: picture.path.clone(), reason });
            }
            Ok(Tensors::from([
                ("mean".to_string(), mean),
                ("logvar".to_string(), posterior.logvar.into_data()),
            ]))
        })
    }
}

/// $(\mu + \sigma \xi) \cdot scaling$.
fn sampled(latents: &Tensors, scaling: f64, xi: &[f32]) -> Vec<f32> {
    let values = |name: &str| latents[name].iter::<f32>();
    let terms = values("mean").zip(values("logvar")).zip(xi);
    terms.map(|((mean, logvar), xi)| (mean + (0.5 * logvar).exp() * xi) * scaling as f32).collect()
}

/// The targets of a batch, with what the frozen model predicts, of texts of its own, in place of some.
fn preserved(
    batch: &Batch,
    (context, added): (Tensor<3>, Option<Added>),
    which: &[bool],
    pipeline: &Pipeline,
) -> Tensor<4> {
    let times: Vec<f32> = batch.times.iter().map(|time| *time as f32).collect();
    let times = Tensor::from_data(times.as_slice(), (&pipeline.device, DType::F32));
    let added = added.map(|added| Added {
        text_embeds: added.text_embeds.inner(),
        time_ids: added.time_ids.inner(),
    });
    let noisy = batch.noisy.clone().inner();
    let frozen = pipeline.unet.forward(noisy, times, context.inner(), added.as_ref());
    let mask = which.iter().map(|is| f32::from(u8::from(*is))).collect::<Vec<_>>();
    let mask = TensorData::new(mask, [which.len(), 1, 1, 1]);
    let device = batch.target.device();
    let mask = Tensor::<4>::from_data(mask, (&device, DType::F32));
    let frozen = Tensor::from_data(frozen.into_data(), (&device, DType::F32));
    batch.target.clone() + (frozen - batch.target.clone()) * mask
}

fn dims(data: &TensorData) -> [usize; 4] {
    let shape = data.shape();
    [shape[0], shape[1], shape[2], shape[3]]
}
