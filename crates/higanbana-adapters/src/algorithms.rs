//! The algorithms, one file each.

pub mod dora;
pub mod loha;
pub mod lokr;
pub mod lora;
