//! Training: from captioned images to an adapter file, or to a model, and what the gamma-equivalence theorem
//! says about it.
//!
//! * [`recipe`]: what a training is asked for; [`trainer`]: the training;
//! * [`data`]: images and captions; [`feed`]: batches of them;
//! * [`objective`]: what is minimised; [`task`]: of which predictions; [`network`] and [`tokens`]: what is trained;
//!   [`groups`]: at which rates; [`init`]: from where;
//!   [`schedule`]: when; [`precision`]: in which numbers;
//! * [`checkpoint`]: the state between two steps; [`events`], [`sheet`], [`mod@file`]: what a run leaves;
//! * [`mod@optimizers`]: every optimizer with its degree of homogeneity, one line each in its registry;
//! * [`model`]: stepping a whole model, in groups, with a pass over all gradients first;
//! * [`scaling`]: which initial values, learning rates and hyperparameters make a training with the
//!   merge ratio $\gamma$ the same as one without;
//! * [`euler`]: the exponents of any adapter, from its gradients.

pub mod checkpoint;
pub mod data;
mod error;
pub mod euler;
pub mod events;
mod fault;
pub mod feed;
pub mod file;
pub mod groups;
pub mod init;
pub mod memory;
pub mod model;
pub mod network;
pub mod objective;
pub mod optimizers;
mod place;
pub mod precision;
mod progress;
pub mod random;
pub mod recipe;
pub mod scaling;
pub mod schedule;
mod seal;
pub mod sheet;
pub mod task;
pub mod tokens;
pub mod trainer;
pub mod weights;

pub use error::TrainError;

pub use model::{Clip, Group, GroupState, ModelOptimizer, Unit};
pub use optimizers::{
    Hyperparameter, NoRule, Optimizers, Outside, Role, Rule, Settings, Shared, State, optimizer,
    optimizers,
};
pub use place::Place;
pub use progress::Progress;
// Burn's derive of `RecordState` looks for these at the root of the crate.
use burn::optim::{RecordState, StateSink, StateSource, join_path};

pub use recipe::Recipe;
pub use scaling::{Block, Scaling, ScalingError};
pub use trainer::{Outcome, Trainer};
