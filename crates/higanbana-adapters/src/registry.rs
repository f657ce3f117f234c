//! The list of algorithms: the one place that names them all.
//!
//! The command line, the detection of files, the parsing of configurations, the laws, the benches
//! and the tables of the documentation are derived from it.

use higanbana_core::Registry;

use crate::algorithms::{
    boft::Boft, diag_oft::DiagOft, dora::Dora, dylora::DyLora, full::Full, glora::Glora, ia3::Ia3,
    loha::Loha, lokr::Lokr, lora::Lora, norm::Norm, oftv2::Oftv2, tlora::Tlora,
};

macro_rules! algorithms {
    ($($algorithm:ty),* $(,)?) => {
        /// All algorithms of this crate. Add your own with [`Registry::with`].
        pub fn registry() -> Registry {
            Registry::empty()$(.with::<$algorithm>())*
        }
    };
}

// Files are matched from the last line up: a composition stands below what it is composed on.
#[rustfmt::skip]
algorithms![
    Lora,
    Dora<Lora>,
    Loha,
    Dora<Loha>,
    Lokr,
    Dora<Lokr>,
    DyLora,
    Tlora,
    Glora,
    Ia3,
    DiagOft,
    Boft,
    Oftv2,
    Full,
    Norm,
];

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use higanbana_core::{Budget, Site};

    use super::*;

    #[test]
    fn what_can_be_fitted_says_how() {
        for kind in registry().iter() {
            let shape = if kind.sites()[0].is_vector() { vec![4] } else { vec![4, 3] };
            let site = Site::new("l", kind.sites()[0], shape);
            let update = Tensor::ones([site.out(), site.cols()], &Device::default());
            let fit = kind.fit(&site, &update, Budget::Rank(1));
            assert_eq!(fit.is_some(), kind.fitted().is_some(), "{}", kind.name());
        }
    }
}
