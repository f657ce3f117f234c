//! The algebra of weight adapters on Burn.
//!
//! An *adapter* is a small set of trained tensors $\theta$ and a rule that turns the frozen weight
//! $W_0$ of one layer into $W(\mu) = W_0 + \mu \Delta W(\theta, W_0)$, where $\mu$ is its strength.
//! This crate holds what every adapter shares and knows none of them by name:
//!
//! * [`algebra`]: Kronecker, Tucker, Cayley, butterfly: pure functions of tensors.
//! * [`spectrum`]: singular values, measures of rank, best approximations.
//! * [`mod@freedom`]: the dimension of the set of updates that an adapter can reach.
//! * [`site`]: the parameter of a layer that an adapter acts on, as a matrix.
//! * [`adapter`]: the contract, one trait; [`kind`]: the same, as a row of a registry.
//! * [`peft`]: how other libraries hold an algorithm, where it says so.
//! * [`trained`]: the trained tensors of an adapter as numbers.
//! * [`slot`]: how adapters sit on a Burn parameter, several at a time; [`training`]: what a step of
//!   training leaves out of them.
//! * [`ops`]: fused operations written against Burn's `Backend`.

pub mod adapter;
pub mod algebra;
pub mod call;
mod checkpoint;
pub mod condition;
pub mod degree;
pub mod device;
mod erased;
pub mod error;
pub mod freedom;
pub mod init;
pub mod kind;
mod member;
mod nearest;
pub mod ops;
pub mod parts;
pub mod peft;
mod precision;
pub mod site;
pub mod slot;
pub mod spectrum;
pub mod trained;
pub mod training;

pub use adapter::{Adapter, Cost, NoOptions, Outline, Variant};
pub use call::{Call, Features, Op};
pub use checkpoint::checkpoint;
pub use condition::Condition;
pub use degree::Degree;
pub use erased::{AnyAdapter, DynAdapter};
pub use error::AdapterError;
pub use freedom::{Freedom, freedom};
pub use init::Init;
pub use kind::{Kind, Registry};
pub use member::{Acting, Member};
pub use nearest::nearest;
pub use parts::{Arguments, Glimpse, Parts, Tensors};
pub use peft::PeftForm;
pub use site::{Site, SiteKind};
pub use slot::{PathChoice, Slot};
pub use spectrum::Budget;
pub use training::Training;
