//! Training: optimizers, and what the gamma-equivalence theorem says about their hyperparameters.
//!
//! * [`mod@optimizers`]: every optimizer with its degree of homogeneity, one line each in its registry;
//! * [`model`]: stepping a whole model, in groups, with a pass over all gradients first;
//! * [`scaling`]: which initial values, learning rates and hyperparameters make a training with the
//!   merge ratio $\gamma$ the same as one without;
//! * [`euler`]: the exponents of any adapter, from its gradients.

pub mod euler;
pub mod model;
pub mod optimizers;
pub mod scaling;

pub use model::{Clip, Group, ModelOptimizer};
pub use optimizers::{Hyperparameter, Role, Rule, Settings, optimizer, optimizers};
// Burn's derive of `RecordState` looks for these at the root of the crate.
use burn::optim::{RecordState, StateSink, StateSource, join_path};

pub use scaling::{Block, Scaling, ScalingError};
