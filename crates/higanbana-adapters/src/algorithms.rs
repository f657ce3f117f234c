//! The algorithms, one file each.

pub mod dora;
pub mod lora;
