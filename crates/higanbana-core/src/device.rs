//! Devices by name.
//!
//! In Burn 0.22 a `Tensor` has no backend parameter: every call goes through Burn's dispatch to the
//! `Backend` implementation that its `Device` names. Which ones there are is decided by the features
//! of the build.

use burn::tensor::Device;

/// Every device name with the feature that compiles it in and whether this build has it.
pub const DEVICES: &[(&str, bool, &str)] = &[
    ("flex", cfg!(feature = "flex"), "the CPU, in pure Rust"),
    ("wgpu", cfg!(feature = "wgpu"), "any GPU, through WebGPU shaders"),
    ("vulkan", cfg!(feature = "vulkan"), "any GPU, through Vulkan and SPIR-V"),
    ("cuda", cfg!(feature = "cuda"), "NVIDIA GPUs"),
];

/// Why a device cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No device has this name.
    #[error(
        "unknown device `{0}`: there are flex, wgpu, vulkan and cuda, with an index as in cuda:1"
    )]
    Unknown(String),
    /// The build lacks the feature.
    #[error("this build has no `{0}`: build it with `cargo build --release --features {0}`{1}")]
    NotCompiled(String, &'static str),
}

/// The device of this name: `flex`, `wgpu`, `vulkan`, `cuda`, the last three with an optional index.
///
/// # Errors
/// When the name is unknown or the build lacks its feature.
pub fn device(name: &str) -> Result<Device, DeviceError> {
    let unknown = || DeviceError::Unknown(name.into());
    let (backend, index) = match name.split_once(':') {
        None => (name, None),
        Some((backend, index)) => (backend, Some(index.parse::<usize>().map_err(|_| unknown())?)),
    };
    match backend {
        #[cfg(feature = "flex")]
        "flex" if index.is_none() => Ok(Device::flex()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(gpu(index))),
        #[cfg(feature = "vulkan")]
        "vulkan" => Ok(Device::vulkan(gpu(index))),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(index.unwrap_or(0))),
        _ => Err(match DEVICES.iter().find(|(known, ..)| *known == backend) {
            Some((_, false, _)) => DeviceError::NotCompiled(backend.into(), hint(backend)),
            _ => unknown(),
        }),
    }
}

/// The CPU in pure Rust, whose arithmetic is IEEE's, operation by operation; Burn's default device in a
/// build without it. (That default is a GPU in every build that has one.)
pub fn cpu() -> Device {
    device("flex").unwrap_or_default()
}

/// Whether this is the CPU in pure Rust.
pub fn is_flex(device: &Device) -> bool {
    self::device("flex").is_ok_and(|flex| device.clone().inner() == flex)
}

/// What to know before building with a backend.
fn hint(backend: &str) -> &'static str {
    match backend {
        "cuda" => " (the README says what that needs)",
        "wgpu" if cfg!(feature = "vulkan") => " and without vulkan",
        "vulkan" if cfg!(feature = "wgpu") => " and without wgpu",
        _ => "",
    }
}

#[cfg(any(feature = "wgpu", feature = "vulkan"))]
fn gpu(index: Option<usize>) -> burn::tensor::DeviceKind {
    use burn::tensor::DeviceKind;
    index.map_or(DeviceKind::DefaultDevice, DeviceKind::DiscreteGpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        assert!(device("flex").is_ok());
        assert!(matches!(device("flex:1"), Err(DeviceError::Unknown(_))));
        assert!(matches!(device("cuda:x"), Err(DeviceError::Unknown(_))));
        assert!(matches!(device("tpu"), Err(DeviceError::Unknown(_))));
        #[cfg(not(feature = "cuda"))]
        assert!(device("cuda:1").unwrap_err().to_string().contains("--features cuda"));
    }
}
