//! The algorithms, one file each, and what two of them share.

pub mod boft;
pub mod diag_oft;
pub mod dora;
pub mod dylora;
pub mod full;
pub mod glora;
pub mod ia3;
pub mod loha;
pub mod lokr;
pub mod lora;
pub mod norm;
pub mod oftv2;
pub mod rotation;
pub mod tlora;
