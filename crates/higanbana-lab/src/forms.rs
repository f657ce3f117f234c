//! The forms that an algorithm takes in the layers of a diffusion model, at two scales of its update.
//!
//! Which tensors an adapter has, and so its degree, may follow from the shape of a layer and from the rank: a core
//! for kernels of several taps, a block that is whole where the rank is no less than its side. Each form is a
//! [`Layer`] of its own about which the theorem is asked.

use burn::tensor::{DType, Tensor};
use higanbana_core::{AdapterError, Init, Site, SiteKind, device::cpu};
use higanbana_train::{ScalingError, scaling::Layer};

use crate::subject::Subject;

/// Shapes of weights in Stable Diffusion's UNet.
const SHAPES: [&[usize]; 4] = [&[320, 320], &[640, 640], &[1280, 1280], &[320, 320, 3, 3]];

/// A scale of the update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// $\alpha$.
    pub alpha: f64,
    /// $r$.
    pub rank: usize,
    /// $\alpha/\sqrt r$ in place of $\alpha/r$.
    pub by_root: bool,
}

impl Scale {
    /// $s$.
    pub fn value(self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.by_root { rank.sqrt() } else { rank }
    }

    /// The same $s$ at another rank.
    fn at_rank(self, rank: usize) -> Self {
        let alpha = self.alpha * Self { rank, ..self }.divisor() / self.divisor();
        Self { alpha, rank, ..self }
    }

    fn divisor(self) -> f64 {
        self.alpha / self.value()
    }
}

/// A form, with the shapes of the layers that have it.
#[derive(Debug, Clone)]
pub struct Form {
    /// Such as `linear layer 320x320`.
    pub sites: Vec<String>,
    /// What the theorem is asked about it.
    pub layer: Layer,
}

/// Why forms cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// No layer takes the algorithm with these options.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// Alpha is not where the degree has $\gamma$.
    #[error(transparent)]
    Scaling(#[from] ScalingError),
}

/// The forms at the rank of `from`, each with the $\gamma$ by which its scale is that of `to` multiplied.
///
/// # Errors
/// When no layer takes the algorithm, or alpha multiplies something else than the degree is about.
pub fn forms(subject: &Subject, from: Scale, to: Scale) -> Result<Vec<Form>, FormError> {
    let gamma = from.value() / to.value();
    let mut forms: Vec<Form> = Vec::new();
    let mut refused = None;
    for shape in SHAPES {
        let kind = if shape.len() == 2 { SiteKind::Linear } else { SiteKind::Conv2d };
        let site = Site::new("form", kind, shape);
        if !subject.fits(&site) {
            continue;
        }
        let like = Tensor::<2>::zeros([1, 1], (&cpu(), DType::F32));
        let w0 = Init::new(&site, like, 0).normal::<2>([site.out(), site.cols()], 0.05);
        let build = |scale: Scale| {
            let sized = subject.of_rank(scale.rank).with("alpha", scale.alpha);
            let rooted = subject.has("rs_lora");
            let sized = if rooted { sized.with("rs_lora", scale.by_root) } else { sized };
            sized.kind.build(&site, &sized.options, &mut Init::new(&site, w0.clone(), 0))
        };
        let (published, own) = match (build(from), build(to.at_rank(from.rank))) {
            (Ok(published), Ok(own)) => (published, own),
            (Err(error), _) | (_, Err(error)) => {
                refused = Some(error);
                continue;
            }
        };
        let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
        let name = format!("{} {}", kind.name(), shape.join("x"));
        let layer = Layer::of(&own, gamma);
        match forms.iter_mut().find(|form| form.layer.is_like(&layer)) {
            Some(form) => form.sites.push(name),
            None => {
                let layer = Layer::between(&published, &own, &site, gamma)?;
                forms.push(Form { sites: vec![name], layer });
            }
        }
    }
    match refused {
        Some(error) if forms.is_empty() => Err(error.into()),
        _ => Ok(forms),
    }
}
