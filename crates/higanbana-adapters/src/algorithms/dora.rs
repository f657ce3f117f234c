//! DoRA: the direction of every row (or column) is adapted by another algorithm, its length is
//! trained on its own. A composition: `lora+dora`, `loha+dora`, `lokr+dora`.
//!
//! $$W = \operatorname{diag}(m / n) V, \qquad V = W_0 + \Delta W_{inner}, \qquad
//! n_o = \lVert V_{o,:} \rVert$$
//!
//! on the output axis; on the input axis $n_i$ runs over outputs and kernel, and columns are scaled.
//!
//! ```text
//! dora_scale  m  [out] or [in]   the norms of W0; in files [out, 1, ...] or [1, in, 1, ...]
//! ```
//!
//! The norm is differentiated. Two differences from LyCORIS: no ε is added to the norm, so that a
//! new adapter changes no bit; and strength interpolates to the base, so that 0 switches it off.
//!
//! DoRA: arXiv:2402.09353.

use burn::{
    module::{Module, ModuleDisplay, Param},
    tensor::Tensor,
};
use higanbana_core::{
    Adapter, AdapterError, Budget, Degree, Init, Outline, Parts, PeftForm, Site, SiteKind, Tensors,
    Variant, algebra,
    parts::{dims, to_data},
    spectrum::SpectrumError,
};
use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// An algorithm that DoRA composes with.
pub trait Decomposable: Adapter {
    /// Name of the composition.
    const WITH_DORA: &'static str;

    /// Whether the first of its tensors is there, and not only one that strayed into a module of
    /// another algorithm.
    fn begins(tensors: &Tensors) -> bool {
        tensors.contains_key(Self::KEYS[0])
    }
}

/// Options of [`Dora`]: its own and those of the inner algorithm, in one table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DoraConfig<C> {
    /// Lengths of the rows (output axis, the default) or of the columns (input axis).
    pub wd_on_out: bool,
    /// Options of the inner algorithm.
    #[serde(flatten)]
    pub inner: C,
}

impl<C: Default> Default for DoraConfig<C> {
    fn default() -> Self {
        Self { wd_on_out: true, inner: C::default() }
    }
}

impl<'de, C: serde::de::DeserializeOwned> Deserialize<'de> for DoraConfig<C> {
    // By hand, since serde cannot both flatten and refuse unknown fields.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = toml::Table::deserialize(deserializer)?;
        let wd_on_out = match table.remove("wd_on_out") {
            None => true,
            Some(value) => value.try_into().map_err(D::Error::custom)?,
        };
        let inner = table.try_into().map_err(|e: toml::de::Error| D::Error::custom(e.message()))?;
        Ok(Self { wd_on_out, inner })
    }
}

/// A DoRA adapter over another; see the [module](self).
#[derive(Module, Debug)]
pub struct Dora<A: Module + ModuleDisplay> {
    /// Adapter of the direction.
    pub inner: A,
    /// $m$.
    pub dora_scale: Param<Tensor<1>>,
    #[module(skip)]
    on_output: bool,
}

impl<A: Decomposable> Adapter for Dora<A> {
    type Config = DoraConfig<A::Config>;

    const NAME: &'static str = A::WITH_DORA;
    const TITLE: &'static str = "DoRA";
    const REFERENCE: &'static str = "arXiv:2402.09353";
    const FORMULA: &'static str =
        r"\operatorname{diag}(m/\lVert V \rVert)\,V - W_0,\; V = W_0 + \Delta W_{inner}";
    const RANK: &'static str = r"\min(out, in\,K)";
    const PARAMETERS: &'static str = "inner + out";
    const KEYS: &'static [&'static str] = &["dora_scale"];
    const SITES: &'static [SiteKind] = A::SITES;
    const NEEDS_BASE: bool = true;
    const ARGUMENTS: &'static [(&'static str, &'static str)] =
        &[("algo", A::NAME), ("dora_wd", "True")];
    const VARIANTS: &'static [Variant] =
        &[Variant { name: "input_axis", options: "wd_on_out = false" }];
    /// That of the inner algorithm, which may have a place for the lengths.
    const PEFT: Option<&'static dyn PeftForm> = A::PEFT;

    fn detect(kind: SiteKind, tensors: &Tensors) -> bool {
        tensors.contains_key("dora_scale") && A::begins(tensors) && A::detect(kind, tensors)
    }

    fn new(site: &Site, config: &Self::Config, init: &mut Init) -> Result<Self, AdapterError> {
        let lengths = norms(site, init.weight().clone().detach(), config.wd_on_out);
        Ok(Self {
            inner: A::new(site, &config.inner, init)?,
            dora_scale: Param::from_tensor(lengths),
            on_output: config.wd_on_out,
        })
    }

    fn update(&self, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        self.around(self.inner.update(site, w0), site, w0)
    }

    fn update_gamma(&self, site: &Site, w0: &Tensor<2>, gamma: f64) -> Tensor<2> {
        self.around(self.inner.update_gamma(site, w0, gamma), site, w0)
    }

    fn degree(&self) -> Degree {
        let exponents = match self.inner.degree() {
            Degree::Update(exponents) => exponents,
            Degree::Inside { exponents, .. } => exponents,
            none @ Degree::None { .. } => return none,
        };
        Degree::Inside {
            map: "γ ΔW_inner, inside V = W0 + γ ΔW_inner",
            exponents: exponents.into_iter().chain([("dora_scale", 0)]).collect(),
        }
    }

    fn rank_bound(&self, site: &Site) -> usize {
        site.full_rank()
    }

    fn parameter_count(&self, site: &Site) -> usize {
        self.inner.parameter_count(site) + if self.on_output { site.out() } else { site.input() }
    }

    fn write(&self, site: &Site) -> Tensors {
        let shape = if self.on_output {
            site.pointwise_shape(site.out(), 1)
        } else {
            site.pointwise_shape(1, site.input())
        };
        let mut tensors = self.inner.write(site);
        tensors.insert("dora_scale".into(), to_data(&self.dora_scale.val(), shape));
        tensors
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        // Files do not record the axis; the shape does.
        let shape = parts.shape("dora_scale").unwrap_or_default();
        let on_output = shape.first() == Some(&site.out()) && shape[1..].iter().all(|&d| d == 1);
        let dora_scale = if on_output {
            parts.tensor("dora_scale", [site.out()])?
        } else {
            let by_input = parts.tensor("dora_scale", [1, site.input()]);
            by_input.map_err(|error| either_axis(error, site))?.reshape([site.input()])
        };
        Ok(Self {
            inner: A::read(site, parts)?,
            dora_scale: Param::from_tensor(dora_scale),
            on_output,
        })
    }

    fn weigh_ranks(&self, weights: &mut dyn FnMut(usize) -> Tensor<1>) -> Option<Self> {
        Some(Self { inner: self.inner.weigh_ranks(weights)?, ..self.clone() })
    }

    fn outline(kind: SiteKind, tensors: &Tensors) -> Outline {
        let mut outline = A::outline(kind, tensors);
        // Lengths along the input tell how many features an unfolded kernel has.
        if let (&[out, Some(cols)], &[1, input, _, ..]) =
            (&outline.shape[..], dims(tensors, "dora_scale"))
            && outline.unfolded
            && input > 0
            && cols.is_multiple_of(input)
        {
            outline.shape = vec![out, Some(input), Some(cols / input)];
        }
        outline
    }

    /// The inner adapter is, the lengths stay.
    fn resized(
        &self,
        site: &Site,
        w0: &Tensor<2>,
        budget: Budget,
    ) -> Option<Result<Self, SpectrumError>> {
        let inner = self.inner.resized(site, w0, budget)?;
        Some(inner.map(|inner| Self { inner, ..self.clone() }))
    }
}

/// Of a shape that fits neither axis, both are named.
fn either_axis(error: AdapterError, site: &Site) -> AdapterError {
    match error {
        AdapterError::Shape { module, key, found, .. } => {
            let expected = format!("[{}, 1] or [1, {}]", site.out(), site.input());
            AdapterError::Shape { module, key, found, expected }
        }
        other => other,
    }
}

impl<A: Decomposable> Dora<A> {
    /// The update whose direction is that of $W_0$ with `inner`, $\Delta W_{inner}$, added.
    fn around(&self, inner: Tensor<2>, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        let n = norms(site, w0.clone() + inner.clone(), self.on_output);
        // A row of zeros has no direction; it stays zero.
        let ratio = self.dora_scale.val() / n.clamp_min(f64::from(f32::MIN_POSITIVE));
        let shape = if self.on_output { [site.out(), 1, 1] } else { [1, site.input(), 1] };
        let ratio = ratio.reshape(shape);
        let full = [site.out(), site.input(), site.taps()];
        // W − W0 = s ΔW + (s − 1) W0: exactly zero where s = 1 and ΔW = 0.
        let update =
            inner.reshape(full) * ratio.clone() + w0.clone().reshape(full) * ratio.sub_scalar(1.0);
        update.reshape([site.out(), site.cols()])
    }
}

fn norms(site: &Site, w: Tensor<2>, on_output: bool) -> Tensor<1> {
    let w = w.reshape([site.out(), site.input(), site.taps()]);
    if on_output { algebra::output_norms(w) } else { algebra::input_norms(w) }
}
