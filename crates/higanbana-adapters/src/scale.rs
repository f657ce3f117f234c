//! The scale $\alpha / r$ that LoRA and its relatives share, and the trained scalar $\sigma$.

use burn::{module::Param, tensor::Tensor};
use higanbana_core::{AdapterError, Init, Parts, Site};

/// $s = \alpha/r$, or $\alpha/\sqrt r$ under rsLoRA (arXiv:2312.03732).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    value: f64,
    rank: usize,
}

impl Scale {
    /// From options; an `alpha` of 0 stands for the rank.
    ///
    /// # Errors
    /// When the rank is 0 or alpha is not a number.
    pub fn new(site: &Site, rank: usize, alpha: f64, rs: bool) -> Result<Self, AdapterError> {
        if rank == 0 {
            return Err(AdapterError::option(site, "rank 0 adapts nothing, give at least 1"));
        }
        if !alpha.is_finite() {
            return Err(AdapterError::option(site, format!("alpha is {alpha}, give a number")));
        }
        let r = rank as f64;
        let alpha = if alpha == 0.0 { r } else { alpha };
        Ok(Self { value: alpha / if rs { r.sqrt() } else { r }, rank })
    }

    /// From a file: `alpha / rank`; a file without `alpha` means the rank.
    ///
    /// # Errors
    /// When `alpha` is not one finite number.
    pub fn read(parts: &Parts, rank: usize) -> Result<Self, AdapterError> {
        let alpha = parts.scalar("alpha")?.unwrap_or(rank as f64);
        Ok(Self { value: alpha / rank as f64, rank })
    }

    /// $s = 1$.
    pub fn one(rank: usize) -> Self {
        Self { value: 1.0, rank }
    }

    /// The same $s$ at another rank.
    pub fn at_rank(self, rank: usize) -> Self {
        Self { rank, ..self }
    }

    /// $s$.
    pub fn value(self) -> f64 {
        self.value
    }

    /// What a file holds as `alpha`: $s r$, so that every reader's $\alpha/r$ is $s$.
    pub fn file_alpha(self) -> f64 {
        self.value * self.rank as f64
    }

    /// $s X$.
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        if self.value == 1.0 { x } else { x.mul_scalar(self.value) }
    }
}

/// The trained scalar $\sigma$, which starts at 0 in place of a factor of zeros.
pub fn scalar(wanted: bool, init: &Init) -> Option<Param<Tensor<1>>> {
    wanted.then(|| Param::from_tensor(init.zeros([1])))
}
