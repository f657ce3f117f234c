//! Higanbana: a tensor-algebra research toolkit on Burn.
//!
//! The LyCORIS family of adapters on any Burn module, true to the files that the field exchanges.
//! This crate re-exports the others; `use higanbana::prelude::*` brings what a program needs.
//!
//! # An algorithm of your own
//!
//! is one type that implements [`Adapter`](prelude::Adapter); `examples/khatri_rao.rs` is one from start
//! to end. `registry().with::<Mine>()` is a [`Registry`](prelude::Registry) that knows it, for
//! [`inject`](prelude::inject()), [`io::save`], [`io::load`] and [`train::Trainer`]; [`laws::battery`] says
//! what is wrong with it; a [`Lab`](lab::experiment::Lab) compares it with the others in every experiment;
//! and `higanbana_cli::main` is the command line with all of this.
//!
//! | an algorithm | says so by |
//! |---|---|
//! | with options | a `Config` of its own: `#[serde(deny_unknown_fields, default)]`. Experiments vary `rank` and `factor` where it has them; [`Variant`](prelude::Variant)s are sets of any |
//! | with a scale $\alpha / r$ | options `rank` and `alpha`, where an alpha of 0 stands for the rank: experiments set it so, and a law checks it |
//! | that does not fit a layer | [`AdapterError::option`](prelude::AdapterError::option) in `new`; its defaults fit the small layers of the laws too |
//! | with frozen tensors | `Param`s with `set_require_grad(false)`: they go with the model and do not train. `write` saves them, or `read` makes them again |
//! | whose layers share frozen tensors | an [`Init`](prelude::Init) of its own, for a [`Site`](prelude::Site) whose path is not the layer's: the same numbers everywhere |
//! | with a seed in its file | a tensor of one integer, read by [`Parts::scalar`](prelude::Parts::scalar): files may hold floats in half precision |
//! | that starts away from zero | a frozen copy of the start, which `update` takes off: a new adapter changes nothing |
//! | that reads the frozen weight | `NEEDS_BASE`; the weight is in `new`, `update` and, if it is at hand, `read` |
//! | for convolutions | nothing: every weight is the matrix `[out, in·K]`. `SITES` leaves kinds out |
//! | that PEFT or diffusers hold too | `PEFT`: how, as a [`PeftForm`](core::PeftForm) |
//! | whose file tells its sizes | `outline`; without, `inspect` and `rank` take the sizes from a base |
//!
//! # An experiment of your own
//!
//! is one type that implements [`Experiment`](lab::experiment::Experiment), one that is planned and shown on a page a
//! [`Chapter`](lab::chapter::Chapter) too. [`lab::experiment`] has an example, and says where its random numbers come from
//! if a run is to give the same beside others and on any machine.
//!
//! # An optimizer of your own
//!
//! is an [`Outside`](train::Outside) in a [`Lab`](lab::experiment::Lab). Its degrees $k$ and $j$, and the powers that its
//! hyperparameters scale with, are found numerically; `theorem` then has a cell for it with each adapter, or says
//! that no rule exists.
//!
//! ```
//! use burn::{
//!     optim::{LearningRate, Optimizer},
//!     tensor::{Device, Tensor},
//! };
//! use higanbana::{
//!     lab::{experiment::Lab, gamma::{Question, Subject, rule_among}},
//!     train::{Outside, Role},
//! };
//!
//! /// $U = g / (|g| + \epsilon)$, number by number.
//! #[derive(Clone)]
//! struct SoftSign(f64);
//!
//! impl Optimizer for SoftSign {
//!     type State<const D: usize> = ();
//!
//!     fn step<const D: usize>(
//!         &self, rate: LearningRate, x: Tensor<D>, g: Tensor<D>, _: Option<()>,
//!     ) -> (Tensor<D>, Option<()>) {
//!         let update = g.clone() / g.abs().add_scalar(self.0);
//!         (x - update.mul_scalar(rate), Some(()))
//!     }
//!
//!     fn to_device<const D: usize>(state: (), _: &Device) {
//!         state
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut lab = Lab::new(Device::flex());
//! lab.optimizers = lab.optimizers.with(Outside {
//!     name: "soft_sign",
//!     title: "soft sign",
//!     reference: "none",
//!     formula: r"g_t / (|g_t| + \epsilon)",
//!     rate: 0.01,
//!     hyperparameters: &[("eps", Role::Epsilon, 1e-8)],
//!     build: |settings| SoftSign(settings.get("eps")).into(),
//! });
//! let rule = rule_among(&lab.optimizers, "soft_sign")?;
//! assert_eq!((rule.degrees(), rule.c(), rule.hyperparameters[0].power), ([0, 0], 1, -1));
//!
//! let subject = Subject::named(&lab.adapters, "loha")?;
//! let gamma = subject.dyadic_gamma(&lab.adapters)?;
//! let question = Question { steps: 5, ..Question::new(&subject, rule, gamma) };
//! let answer = question.answer(&lab.adapters, &lab.device)?;
//! assert_eq!((answer.found, answer.bit_exact), (Some([0, 0]), true));
//! # Ok(())
//! # }
//! ```

pub use higanbana_adapters as adapters;
pub use higanbana_core as core;
pub use higanbana_diffusion as diffusion;
pub use higanbana_io as io;
pub use higanbana_lab as lab;
pub use higanbana_train as train;

pub mod laws;

/// What a program that adapts a model needs.
pub mod prelude {
    pub use higanbana_adapters::{Injection, Preset, Report, Rule, attach, inject, registry};
    pub use higanbana_core::{
        Adapter, AdapterError, Call, Condition, Cost, Degree, DynAdapter, Features, Init, Kind,
        Member, NoOptions, Parts, PathChoice, Registry, Site, SiteKind, Slot, Tensors, Variant,
        algebra, spectrum,
    };
}

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
