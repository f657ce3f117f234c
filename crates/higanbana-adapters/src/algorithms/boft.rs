//! BOFT, orthogonal butterfly: few small rotations between perfect shuffles reach every row from
//! every other, and still keep every singular value.
//!
//! $$W = s \circ \tilde R_{m-1} \cdots \tilde R_0 W_0, \qquad
//! \tilde R_i = P_i^\top \operatorname{blockdiag}(R_{i1}, \dots, R_{in}) P_i, \qquad
//! R_{ij} = (I + Q_{ij})(I - Q_{ij})^{-1}$$
//!
//! ```text
//! oft_blocks  B  [m, n, b, b]   zeros; n·b = out, m = log₂ n + 1, Q = B - Bᵀ
//! rescale     s  [out]          ones, with `rescaled` only; in files [out, 1, ...]
//! ```
//!
//! `P_i` is that of [`algebra::butterfly_stage`]. `rank` asks for a block size: `b` is the largest
//! even number up to it for which `n = out/b` is a power of two. Where there is none (1280 rows
//! allow 10, 20, 40, ...) the error names the sizes.
//!
//! With a `constraint` $c$ all $Q$, over all stages, are shrunk together to
//! $\lVert Q \rVert_F \le c\cdot out$; files hold $c$ as `alpha`.
//!
//! Strength interpolates stage by stage: $R \to \mu R + (1-\mu) I$ and $s \to 1 + \mu(s-1)$.
//! Difference from LyCORIS: the rescaling follows the strength too, so that 0 switches it off.
//!
//! BOFT: arXiv:2311.06243. Shuffles and norm are those of LyCORIS.

use burn::{module::Module, tensor::Tensor};
use higanbana_core::{
    Adapter, AdapterError, Call, Cost, Degree, Features, Init, Outline, Parts, PeftForm, Site,
    SiteKind, Tensors, Variant, algebra, parts::dims, peft::Unread,
};

use super::rotation::{Rotation, RotationConfig, on_channels};

/// A BOFT adapter; see the [module](self).
#[derive(Module, Debug)]
pub struct Boft {
    /// $B$ of all stages, one after another, and $s$.
    pub rotation: Rotation,
    #[module(skip)]
    stages: usize,
}

impl Adapter for Boft {
    type Config = RotationConfig;

    const NAME: &'static str = "boft";
    const TITLE: &'static str = "BOFT";
    const REFERENCE: &'static str = "arXiv:2311.06243";
    const FORMULA: &'static str = r"s \circ \tilde R_{m-1} \cdots \tilde R_0 W_0 - W_0";
    const RANK: &'static str = r"\min(out, in\,K)";
    const PARAMETERS: &'static str = r"out\,b\,(\log_2(out/b) + 1)";
    const KEYS: &'static [&'static str] = Rotation::KEYS;
    const NEEDS_BASE: bool = true;
    const VARIANTS: &'static [Variant] = Rotation::VARIANTS;
    const PEFT: Option<&'static dyn PeftForm> = Some(&Unread {
        name: "BOFT",
        keys: &[("boft_R", Rotation::UNREAD), ("boft_s", Rotation::UNREAD)],
    });

    fn detect(kind: SiteKind, tensors: &Tensors) -> bool {
        // The stages are what tells it from the rotations of one stage.
        Self::SITES.contains(&kind) && dims(tensors, "oft_blocks").len() == 4
    }

    fn new(site: &Site, config: &RotationConfig, init: &mut Init) -> Result<Self, AdapterError> {
        let (b, n) = algebra::power2_factorization(site.out(), config.block_size(site)?)
            .ok_or_else(|| AdapterError::option(site, no_blocks(site.out(), config.rank)))?;
        let stages = stages(n);
        Ok(Self { rotation: Rotation::new(site, config, [stages * n, b], init)?, stages })
    }

    fn update(&self, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        self.update_at(site, w0, 1.0)
    }

    fn update_at(&self, site: &Site, w0: &Tensor<2>, strength: f64) -> Tensor<2> {
        self.turned(site, w0.clone(), strength, 1.0)
    }

    fn strength_degree(&self) -> usize {
        self.stages + usize::from(self.rotation.rescale.is_some())
    }

    fn added(&self, call: &Call, y0: &Features) -> Option<Features> {
        self.cost(call.site, call.op.groups())?;
        Some(on_channels(y0, |y| self.turned(call.site, y, call.strength, 1.0)))
    }

    fn cost(&self, site: &Site, groups: usize) -> Option<Cost> {
        let [_, b] = self.rotation.dims();
        let shortcut = self.stages * site.out() * b;
        // The last stage mixes rows of different groups.
        (groups == 1).then(|| Cost { update: shortcut * site.cols(), shortcut })
    }

    fn degree(&self) -> Degree {
        self.rotation.degree()
    }

    fn update_gamma(&self, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        self.turned(site, w0.clone(), 1.0, gamma)
    }

    fn rank_bound(&self, site: &Site) -> usize {
        site.full_rank()
    }

    fn keeps_singular_values(&self) -> bool {
        self.rotation.keeps_lengths()
    }

    fn parameter_count(&self, site: &Site) -> usize {
        self.rotation.count(site)
    }

    fn write(&self, site: &Site) -> Tensors {
        let [n, b] = self.rotation.dims();
        self.rotation.write(site, [self.stages, n / self.stages, b, b])
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        let (n, b) = (parts.dim("oft_blocks", 1)?, parts.dim("oft_blocks", 2)?);
        if n.checked_mul(b) != Some(site.out()) || !n.is_power_of_two() || b % 2 != 0 {
            let expected =
                format!("[m, n, b, b] with n·b = {}, n a power of two, b even", site.out());
            return Err(parts.misshapen("oft_blocks", expected));
        }
        let stages = stages(n);
        Ok(Self { rotation: Rotation::read(site, parts, &[stages, n], b)?, stages })
    }

    fn outline(_kind: SiteKind, tensors: &Tensors) -> Outline {
        match dims(tensors, "oft_blocks") {
            &[_, k, b, ..] => Outline::rows(k.saturating_mul(b)),
            _ => Outline::default(),
        }
    }
}

impl Boft {
    /// $W(\mu) - W_0$ for the rows of a weight, or for the channels of its output. The update alone
    /// is carried from stage to stage, so that nothing cancels:
    /// $U_{i+1} = U_i + \mu \tilde D_i (X + U_i)$ with $\tilde D_i = \tilde R_i - I$.
    fn turned(&self, site: &Site, x: Tensor<2>, strength: f64, gamma: f64) -> Tensor<2> {
        let deviations = self.rotation.deviations(site, gamma).mul_scalar(strength);
        let stages = deviations.chunk(self.stages, 0);
        let turned = (0..).zip(stages).fold(x.zeros_like(), |update, (i, stage)| {
            update.clone() + algebra::butterfly_stage(x.clone() + update, stage, i)
        });
        self.rotation.rescaled(turned, x, strength)
    }
}

/// Stages that mix `n` blocks completely: $\log_2 n + 1$.
fn stages(n: usize) -> usize {
    n.ilog2() as usize + 1
}

/// Why `out` rows have no blocks of at most `rank`, and which sizes they have.
fn no_blocks(out: usize, rank: usize) -> String {
    let sizes = (0..usize::BITS).map(|i| 1 << i).take_while(|n| out.is_multiple_of(2 * n));
    let mut sizes: Vec<String> = sizes.map(|n| (out / n).to_string()).collect();
    if sizes.is_empty() {
        return format!("{out} rows, an odd number, have no blocks of even size");
    }
    sizes.reverse();
    format!(
        "{out} rows fall into a power of two of even blocks of {} rows; rank {rank} allows none, \
         give at least {}",
        sizes.join(", "),
        sizes[0]
    )
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        tensor::{DType, Device},
    };
    use higanbana_core::{SiteKind, spectrum::singular_values};

    use super::*;

    /// Eight rows in blocks of two: three stages, trained at random, and a base.
    fn trained() -> (Site, Tensor<2>, Boft) {
        let site = Site::new("c", SiteKind::Conv1d, [8, 2, 3]);
        let empty = Tensor::zeros([8, 6], (&Device::default(), DType::F64));
        let mut init = Init::new(&site, empty, 1);
        let config = RotationConfig { rank: 3, rescaled: true, ..RotationConfig::default() };
        let mut adapter = Boft::new(&site, &config, &mut init).unwrap();
        assert_eq!((adapter.stages, adapter.rotation.dims()), (3, [12, 2]));
        adapter.rotation.oft_blocks = Param::from_tensor(init.normal([12, 2, 2], 0.5));
        (site, init.normal([8, 6], 1.0), adapter)
    }

    #[test]
    fn strength_interpolates_stage_by_stage() {
        let (site, w0, mut adapter) = trained();
        let s = Init::new(&site, w0.clone(), 2).normal([8], 0.3) + 1.0;
        adapter.rotation.rescale = Some(Param::from_tensor(s.clone()));
        let q = algebra::skew(adapter.rotation.oft_blocks.val());
        let identity = Tensor::<2>::eye(2, &w0.device()).cast(DType::F64).unsqueeze();
        for strength in [1.0, 0.4, -1.5] {
            let mixed = algebra::cayley(q.clone()) * strength + identity.clone() * (1.0 - strength);
            let turned = algebra::butterfly(w0.clone(), mixed.reshape([3, 4, 2, 2]));
            let scale = (s.clone() - 1.0) * strength + 1.0;
            let expected = turned * scale.unsqueeze_dim(1);
            let error = w0.clone() + adapter.update_at(&site, &w0, strength) - expected.clone();
            let error: f64 = error.abs().max().div(expected.abs().max()).into_scalar();
            assert!(error < 1e-14, "{strength}");
        }
    }

    #[test]
    fn every_singular_value_stays() {
        let (site, w0, adapter) = trained();
        let after = singular_values(&(w0.clone() + adapter.update(&site, &w0))).unwrap();
        let before = singular_values(&w0).unwrap();
        assert!(before.iter().zip(after).all(|(a, b)| (a - b).abs() < 1e-13));
    }

    #[test]
    fn the_sizes_that_would_work_are_named() {
        assert_eq!(
            no_blocks(48, 2),
            "48 rows fall into a power of two of even blocks of 6, 12, 24, 48 rows; rank 2 allows \
             none, give at least 6"
        );
        assert_eq!(no_blocks(127, 4), "127 rows, an odd number, have no blocks of even size");
    }
}
