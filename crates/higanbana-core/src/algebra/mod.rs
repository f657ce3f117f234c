//! The tensor algebra of weight adapters: pure functions without state or configuration.
//!
//! Everything takes and returns Burn tensors, works at any float type (`f32` and `f64` are
//! tested), creates its constants with the type and device of its input, never waits for the
//! device, and is differentiable by Burn's autodiff.
//!
//! The weight of a site is read as a matrix `[out, in·K]` or, with the kernel positions apart, as
//! `[out, in, K]`, where `K` is the product of the kernel dimensions (1 for a linear layer).

mod block_diagonal;
mod butterfly;
mod cayley;
mod factorization;
mod kron;
mod norms;
#[cfg(test)]
pub(crate) mod testing;
mod tucker;

pub use block_diagonal::{rotate_rows, rotate_rows_transposed};
pub use butterfly::{butterfly, butterfly_stage};
pub use cayley::{bounded, cayley, cayley_deviation, skew};
pub use factorization::{factorization, power2_factorization};
pub use kron::{kron, rearrange};
pub use norms::{frobenius, input_norms, output_norms};
pub use tucker::tucker;
