//! (IA)³: one trained factor for each output feature, or for each input feature.
//!
//! $$\Delta W = \operatorname{diag}(w) W_0 \quad\text{or, on input,}\quad
//! \Delta W = W_0 \operatorname{diag}(w)$$
//!
//! On input every tap of a kernel is scaled alike: $\Delta W_{o,i,k} = W_{o,i,k} w_i$.
//!
//! ```text
//! weight    w  [out] or [in]   zeros; in files [T], of convolutions [1, T, 1, ...]
//! on_input     one number: 0 or 1
//! ```
//!
//! Differences from LyCORIS: its bypass path scales the bias as well, here a bias is never touched;
//! and on input the groups of a grouped convolution share their factors, where LyCORIS asks for one
//! factor for each channel of all groups and then fails.
//!
//! (IA)³: arXiv:2205.05638.

use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use higanbana_core::{
    Adapter, AdapterError, Call, Cost, Degree, Features, Init, Outline, Parts, PeftForm, Site,
    SiteKind, Tensors, Variant,
    parts::{dims, scalar_data, to_data},
    peft::Unread,
    spectrum::SpectrumError,
};
use serde::{Deserialize, Serialize};

/// Options of [`Ia3`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ia3Config {
    /// Scale input features instead of output features.
    pub train_on_input: bool,
}

/// An (IA)³ adapter; see the [module](self).
#[derive(Module, Debug)]
pub struct Ia3 {
    /// $w$.
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    on_input: bool,
}

impl Adapter for Ia3 {
    type Config = Ia3Config;

    const NAME: &'static str = "ia3";
    const TITLE: &'static str = "(IA)³";
    const REFERENCE: &'static str = "arXiv:2205.05638";
    const FORMULA: &'static str = r"\operatorname{diag}(w)\,W_0";
    const RANK: &'static str = r"\operatorname{rank} W_0";
    const PARAMETERS: &'static str = "out";
    const KEYS: &'static [&'static str] = &["on_input", "weight"];
    const NEEDS_BASE: bool = true;
    const VARIANTS: &'static [Variant] =
        &[Variant { name: "on_input", options: "train_on_input = true" }];
    const PEFT: Option<&'static dyn PeftForm> = Some(&Unread {
        name: "IA3",
        keys: &[("ia3_l", "PEFT's own form of IA3, which is not read")],
    });

    /// By its flag: a lone `weight` is the layer's own, saved along.
    fn detect(kind: SiteKind, tensors: &Tensors) -> bool {
        Self::SITES.contains(&kind) && tensors.contains_key("on_input")
    }

    fn new(site: &Site, config: &Ia3Config, init: &mut Init) -> Result<Self, AdapterError> {
        let on_input = config.train_on_input;
        Ok(Self { weight: Param::from_tensor(init.zeros([features(site, on_input)])), on_input })
    }

    fn update(&self, site: &Site, w0: &Tensor<2>) -> Tensor<2> {
        let weight = self.weight.val();
        if self.on_input {
            let w0 = w0.clone().reshape([site.out(), site.input(), site.taps()]);
            (w0 * weight.reshape([1, site.input(), 1])).reshape([site.out(), site.cols()])
        } else {
            w0.clone() * weight.reshape([site.out(), 1])
        }
    }

    fn added(&self, call: &Call, y0: &Features) -> Option<Features> {
        self.cost(call.site, call.op.groups())?;
        let weight = self.weight.val().mul_scalar(call.strength);
        Some(match self.on_input {
            false => y0.scale(weight),
            true => call.apply_to(&call.x.scale(weight), call.w0.clone()),
        })
    }

    fn cost(&self, site: &Site, groups: usize) -> Option<Cost> {
        let update = site.out() * site.cols();
        let shortcut = if self.on_input { site.input() + update } else { site.out() };
        // Channels of different groups share a factor, which no scaling of the features does.
        (groups == 1 || !self.on_input).then_some(Cost { update, shortcut })
    }

    fn degree(&self) -> Degree {
        Degree::Update(vec![("weight", 1)])
    }

    fn rank_bound(&self, site: &Site) -> usize {
        site.full_rank()
    }

    fn parameter_count(&self, site: &Site) -> usize {
        features(site, self.on_input)
    }

    fn write(&self, site: &Site) -> Tensors {
        let t = features(site, self.on_input);
        let shape = if site.kernel().is_empty() { vec![t] } else { site.pointwise_shape(1, t) };
        Tensors::from([
            ("weight".into(), to_data(&self.weight.val(), shape)),
            ("on_input".into(), scalar_data(f64::from(u8::from(self.on_input)))),
        ])
    }

    fn read(site: &Site, parts: &Parts) -> Result<Self, AdapterError> {
        // Files that were saved with a cast hold this flag as a float.
        let on_input = parts.scalar("on_input")?.ok_or_else(|| parts.missing("on_input"))? != 0.0;
        let weight = parts.tensor("weight", [features(site, on_input)])?;
        Ok(Self { weight: Param::from_tensor(weight), on_input })
    }

    fn outline(_kind: SiteKind, tensors: &Tensors) -> Outline {
        let features = dims(tensors, "weight").iter().product();
        let on_input = tensors.get("on_input").and_then(|flag| flag.iter::<f64>().next());
        match on_input {
            None => Outline::default(),
            Some(0.0) => Outline::rows(features),
            Some(_) => Outline::input(features),
        }
    }

    /// Least squares, feature by feature: $w_o = \langle D_o, W_{0,o} \rangle / \lVert W_{0,o} \rVert^2$
    /// for the target $D$; 0 where the base weight is zero.
    fn nearest(
        &self,
        site: &Site,
        w0: &Tensor<2>,
        target: &Tensor<2>,
    ) -> Option<Result<Self, SpectrumError>> {
        let by_feature = |x: Tensor<2>| match self.on_input {
            false => x,
            true => {
                let x = x.reshape([site.out(), site.input(), site.taps()]).swap_dims(0, 1);
                x.reshape([site.input(), site.out() * site.taps()])
            }
        };
        let (w0, target) = (by_feature(w0.clone()), by_feature(target.clone()));
        let energy = w0.clone().square().sum_dim(1);
        let none = energy.clone().equal_elem(0.0);
        let weight = (target * w0).sum_dim(1) / energy;
        let weight = weight.mask_fill(none, 0.0).squeeze_dim(1);
        Some(Ok(Self { weight: Param::from_tensor(weight), on_input: self.on_input }))
    }
}

/// Number of features that are scaled.
fn features(site: &Site, on_input: bool) -> usize {
    if on_input { site.input() } else { site.out() }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, TensorData};
    use higanbana_core::SiteKind;

    use super::*;

    fn adapter(on_input: bool) -> Ia3 {
        let weight = Tensor::from_data([2.0, -1.0], &Device::default());
        Ia3 { weight: Param::from_tensor(weight), on_input }
    }

    #[test]
    fn rows_or_columns_are_scaled() {
        let site = Site::new("l", SiteKind::Linear, [2, 2]);
        let w0 = Tensor::from_data([[1.0, 2.0], [3.0, 4.0]], &Device::default());
        let rows = adapter(false).update(&site, &w0).to_data();
        rows.assert_eq(&TensorData::from([[2.0, 4.0], [-3.0, -4.0]]), false);
        let columns = adapter(true).update(&site, &w0).to_data();
        columns.assert_eq(&TensorData::from([[2.0, -2.0], [6.0, -4.0]]), false);
    }

    #[test]
    fn on_input_all_taps_of_a_channel_share_its_factor() {
        let site = Site::new("c", SiteKind::Conv1d, [1, 2, 2]);
        let w0 = Tensor::from_data([[1.0, 2.0, 3.0, 4.0]], &Device::default());
        let update = adapter(true).update(&site, &w0).to_data();
        update.assert_eq(&TensorData::from([[2.0, 4.0, -3.0, -4.0]]), false);
    }

    #[test]
    fn factors_of_all_groups_are_refused() {
        let site = Site::new("c", SiteKind::Conv1d, [4, 1, 3]);
        let tensors = adapter(true).write(&Site::new("c", SiteKind::Conv1d, [4, 2, 3]));
        let parts = Parts::new("c", &tensors, &Device::default(), DType::F32);
        let error = Ia3::read(&site, &parts).unwrap_err().to_string();
        assert_eq!(error, "c.weight: shape [1, 2, 1] does not fit, expected [1]");
    }
}
