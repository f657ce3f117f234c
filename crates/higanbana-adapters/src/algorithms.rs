//! The algorithms, one file each.

pub mod boft;
pub mod diag_oft;
pub mod dora;
pub mod lora;
pub mod tlora;
