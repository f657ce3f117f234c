//! What LoRA and its relatives share: options, the scale $\alpha / r$ and the trained scalar $\sigma$.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use higanbana_core::{AdapterError, Init, Parts, Site};
use serde::{Deserialize, Serialize};

/// Options of an algorithm that is made of thin products.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LowRankConfig {
    /// Rank $r$ of each product.
    pub rank: usize,
    /// $\alpha$; 0 stands for the rank.
    pub alpha: f64,
    /// Scale by $\alpha/\sqrt r$ instead of $\alpha/r$.
    pub rs_lora: bool,
    /// Tucker cores on convolutions with more than one tap.
    pub use_tucker: bool,
    /// Trained scalar factor.
    pub use_scalar: bool,
}

impl Default for LowRankConfig {
    fn default() -> Self {
        Self { rank: 4, alpha: 1.0, rs_lora: false, use_tucker: false, use_scalar: false }
    }
}

/// $s = \alpha/r$, or $\alpha/\sqrt r$ under rsLoRA (arXiv:2312.03732).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    value: f64,
    alpha: f64,
    /// Whether the file's `alpha` is divided by the root of the rank.
    by_root: bool,
}

/// Above what the field writes for a rank without a bound, 100000.
const MOST_RANK: usize = 1 << 20;

/// How many times the wider side of a layer its rank may be.
const MOST_TIMES: usize = 16;

impl Scale {
    /// From options; an `alpha` of 0 stands for the rank.
    ///
    /// # Errors
    /// When the rank is 0 or immense, or alpha is not a number.
    pub fn new(site: &Site, rank: usize, alpha: f64, rs: bool) -> Result<Self, AdapterError> {
        if rank == 0 {
            return Err(AdapterError::option(site, "rank 0 adapts nothing, give at least 1"));
        }
        if rank > MOST_RANK {
            let reason =
                format!("rank {rank} is more than any layer has, give {MOST_RANK} at most");
            return Err(AdapterError::option(site, reason));
        }
        if !alpha.is_finite() {
            return Err(AdapterError::option(site, format!("alpha is {alpha}, give a number")));
        }
        let r = rank as f64;
        let alpha = if alpha == 0.0 { r } else { alpha };
        let value = alpha / if rs { r.sqrt() } else { r };
        Ok(Self { value, alpha: value * r, by_root: false })
    }

    /// [`Scale::new`] of factors whose thin side is the rank, at every rank.
    ///
    /// # Errors
    /// As there, and when the rank has no meaning for a layer: rules give layers of every width one rank,
    /// which may be more than the full rank of a narrow one, but not many times the wider side.
    pub fn thin(site: &Site, rank: usize, alpha: f64, rs: bool) -> Result<Self, AdapterError> {
        let most = MOST_TIMES * site.out().max(site.cols());
        if rank > most && rank <= MOST_RANK {
            let layer = format!("a layer of {}x{}", site.out(), site.cols());
            let reason = format!("rank {rank} has no meaning for {layer}, give {most} at most");
            return Err(AdapterError::option(site, reason));
        }
        Self::new(site, rank, alpha, rs)
    }

    /// From a file: `alpha / rank`; a file without `alpha`, or with 0, means the rank, as LyCORIS and
    /// kohya's scripts have it.
    ///
    /// # Errors
    /// When `alpha` is not one finite number.
    pub fn read(parts: &Parts, rank: usize) -> Result<Self, AdapterError> {
        let alpha = parts.scalar("alpha")?.filter(|alpha| *alpha != 0.0).unwrap_or(rank as f64);
        Ok(Self { value: alpha / rank as f64, alpha, by_root: false })
    }

    /// From a file in which LyCORIS has left $\alpha$ as it is under rsLoRA, whose metadata say so.
    ///
    /// # Errors
    /// As [`Scale::read`].
    pub fn read_stabilised(parts: &Parts, rank: usize) -> Result<Self, AdapterError> {
        let Self { value, alpha, .. } = Self::read(parts, rank)?;
        Ok(Self { value: value * (rank as f64).sqrt(), alpha, by_root: true })
    }

    /// $s = 1$.
    pub fn one(rank: usize) -> Self {
        Self { value: 1.0, alpha: rank as f64, by_root: false }
    }

    /// This $s$, whatever the `alpha` of its file.
    pub fn of_file(value: f64, alpha: f64) -> Self {
        Self { value, alpha, by_root: false }
    }

    /// The scale with this `alpha` in a file, and the number that a factor is multiplied by so that the update stays.
    pub fn with_alpha(self, alpha: f64) -> (Self, f64) {
        let value = self.value * alpha / self.alpha;
        (Self { value, alpha, ..self }, self.value / value)
    }

    /// The same $s$ at another rank.
    pub fn at_rank(self, rank: usize) -> Self {
        let rank = rank as f64;
        Self { alpha: self.value * if self.by_root { rank.sqrt() } else { rank }, ..self }
    }

    /// $s = 1$ at another rank, in a file of the same kind.
    pub fn one_at(self, rank: usize) -> Self {
        Self { value: 1.0, ..self }.at_rank(rank)
    }

    /// $s$.
    pub fn value(self) -> f64 {
        self.value
    }

    /// The `alpha` of a file: $s r$, so that every reader's $\alpha/r$ is $s$; $s \sqrt r$ where its
    /// metadata ask for that.
    pub fn file_alpha(self) -> f64 {
        self.alpha
    }

    /// $s X$.
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        if self.value == 1.0 { x } else { x.mul_scalar(self.value) }
    }
}

/// The trained scalar $\sigma$, where an adapter has one; else $\sigma = 1$.
#[derive(Module, Debug)]
pub struct Scalar {
    /// $\sigma$.
    pub scalar: Option<Param<Tensor<1>>>,
}

impl Scalar {
    /// One that starts at 0, in place of a factor of zeros, where it is wanted.
    pub fn new(wanted: bool, init: &Init) -> Self {
        Self { scalar: wanted.then(|| Param::from_tensor(init.zeros([1]))) }
    }

    /// None.
    pub fn none() -> Self {
        Self { scalar: None }
    }

    /// $\sigma X$.
    pub fn apply<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match &self.scalar {
            None => x,
            Some(scalar) => x * scalar.val().unsqueeze(),
        }
    }

    /// Its exponent in the update.
    pub fn exponent(&self) -> Option<(&'static str, u32)> {
        self.scalar.as_ref().map(|_| ("scalar", 1))
    }

    /// Number of trained values.
    pub fn count(&self) -> usize {
        usize::from(self.scalar.is_some())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, TensorData};
    use higanbana_core::Tensors;

    use super::*;

    #[test]
    fn without_alpha_or_with_none_of_it_the_scale_is_one() {
        for (alpha, expected) in [(None, 1.0), (Some(0.0f32), 1.0), (Some(2.0), 0.5)] {
            let tensors: Tensors = alpha
                .map(|alpha| ("alpha".into(), TensorData::from([alpha])))
                .into_iter()
                .collect();
            let parts = Parts::new("m", &tensors, &Device::default(), DType::F32);
            assert_eq!(Scale::read(&parts, 4).unwrap().value(), expected, "{alpha:?}");
        }
    }
}
