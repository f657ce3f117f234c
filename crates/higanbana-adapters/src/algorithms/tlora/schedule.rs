//! How many ranks act at a diffusion timestep.

use higanbana_core::{AdapterError, Parts, Site, Tensors, parts::scalar_data};

/// Fewer ranks at noisier steps: of $r$ ranks, at timestep $t$ of $T$, the first
/// $$\min\big(r, \lfloor ((T-t)/T)^a (r - r_{min}) \rfloor + r_{min}\big)$$
/// act.
///
/// Source: T-LoRA (arXiv:2507.05964), with the exponent of LyCORIS's `compute_timestep_mask`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankSchedule {
    min_rank: usize,
    /// In `f32`, as files hold it.
    exponent: f32,
}

impl RankSchedule {
    /// From options: $r_{min}$ and $a$.
    ///
    /// # Errors
    /// When $r_{min} > r$ or $a$ is negative or not a number.
    pub fn new(
        site: &Site,
        rank: usize,
        min_rank: usize,
        exponent: f64,
    ) -> Result<Self, AdapterError> {
        if min_rank > rank {
            let reason = format!("min_rank {min_rank} exceeds rank {rank}");
            return Err(AdapterError::option(site, reason));
        }
        if !(exponent.is_finite() && exponent >= 0.0) {
            let reason = format!("alpha_rank_scale is {exponent}, give 0 or more");
            return Err(AdapterError::option(site, reason));
        }
        Ok(Self { min_rank, exponent: exponent as f32 })
    }

    /// From a file. LyCORIS's files have neither key; its defaults are 1 and 1.
    ///
    /// # Errors
    /// When either is not one finite number.
    pub fn read(parts: &Parts) -> Result<Self, AdapterError> {
        Ok(Self {
            min_rank: parts.scalar("min_rank")?.unwrap_or(1.0) as usize,
            exponent: parts.scalar("alpha_rank_scale")?.unwrap_or(1.0) as f32,
        })
    }

    /// For a smaller rank, which bounds $r_{min}$.
    pub fn at_rank(self, rank: usize) -> Self {
        Self { min_rank: self.min_rank.min(rank), ..self }
    }

    /// The tensors of a file.
    pub fn write(self) -> Tensors {
        Tensors::from([
            ("min_rank".into(), scalar_data(self.min_rank as f64)),
            ("alpha_rank_scale".into(), scalar_data(f64::from(self.exponent))),
        ])
    }

    /// Number of the `r` ranks that act at timestep `t` of `horizon`.
    pub fn active(self, r: usize, t: f64, horizon: f64) -> usize {
        let clean = ((horizon - t) / horizon).clamp(0.0, 1.0).powf(f64::from(self.exponent));
        let more = (clean * r.saturating_sub(self.min_rank) as f64) as usize;
        r.min(self.min_rank + more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_ranks_act_at_noisier_steps() {
        let schedule = RankSchedule { min_rank: 1, exponent: 1.0 };
        for (t, active) in [(0.0, 8), (250.0, 6), (500.0, 4), (999.0, 1), (1000.0, 1)] {
            assert_eq!(schedule.active(8, t, 1000.0), active, "{t}");
        }
        let schedule = RankSchedule { min_rank: 4, exponent: 2.0 };
        assert_eq!(schedule.active(8, 500.0, 1000.0), 5);
        assert_eq!(schedule.active(3, 500.0, 1000.0), 3);
    }
}
