//! Where to compute.

use anyhow::{Result, anyhow};
use burn::tensor::{Device, Tensor};
use clap::Args;

use crate::output;

/// The option `--device` of every computing command.
#[derive(Args)]
pub struct Compute {
    /// Where to compute: flex (the CPU), wgpu, vulkan or cuda, with an index as in cuda:1
    #[arg(long, default_value = DEFAULT, value_name = "DEVICE")]
    device: String,
}

const DEFAULT: &str = "flex";

impl Compute {
    /// What was asked for.
    pub fn name(&self) -> &str {
        &self.device
    }

    /// Whether that is what is used where nothing is asked for.
    pub fn is_default(&self) -> bool {
        self.device == DEFAULT
    }

    /// The device, tried out.
    pub fn device(&self) -> Result<Device> {
        let device = higanbana_core::device::device(&self.device).map_err(output::usage)?;
        probe(&device)
            .map_err(|reason| anyhow!("device {} cannot be used: {reason}", self.device))?;
        Ok(device)
    }
}

/// Backends report a missing driver by panicking on first use.
pub fn probe(device: &Device) -> Result<(), String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let outcome = std::panic::catch_unwind(|| {
        let one = Tensor::<1>::ones([1], device);
        (one.clone() + one).into_data().iter::<f32>().next()
    });
    std::panic::set_hook(hook);
    match outcome {
        Ok(Some(2.0)) => Ok(()),
        Ok(_) => Err("1 + 1 is not 2 there".into()),
        Err(panic) => Err(panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
            .unwrap_or_else(|| "no driver or no such device".into())
            .lines()
            .next()
            .unwrap_or_default()
            .to_string()),
    }
}
