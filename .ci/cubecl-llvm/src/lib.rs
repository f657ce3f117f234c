//! A stand-in for `cubecl-llvm` 0.11.3 that contains no LLVM.
//!
//! `cubecl-cuda` always compiles two code generators: LLVM, whose build script downloads a prebuilt
//! LLVM, and CUDA C++, which needs nothing before run time. With `cubecl-cuda/cpp` the second is
//! the one in use, so the first has only to exist. This crate gives `cubecl-cuda` the types it
//! names and refuses every kernel. Use it where that download is not wanted:
//!
//! ```text
//! cargo build --release --no-default-features --features flex,cuda \
//!     --config 'patch.crates-io.cubecl-llvm.path=".ci/cubecl-llvm"'
//! ```
//!
//! Its version follows `cubecl-cuda`: a release may rename what is mirrored here.

use std::fmt;

use cubecl_core::{
    Compiler,
    ir::{amd::GfxArch, nvidia::SmArch},
    prelude::KernelDefinition,
};
use cubecl_environment::backtrace::BackTrace;
use cubecl_runtime::{compiler::CompilationError, kernel::BufferIOAttr};

use crate::nvptx::ptx_version::PtxVersion;

/// The machine that a kernel would be lowered for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// The host.
    #[default]
    Cpu,
    /// An NVIDIA GPU.
    Nvptx,
}

/// The compiler that refuses every kernel.
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    /// The machine to lower for.
    pub target: LlvmTarget,
}

/// What the real compiler asks about the device; ignored here.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// Alignment of buffers on the host, in bytes.
    pub cpu_buffer_alignment: Option<u32>,
    /// Architecture of an AMD GPU.
    pub arch: Option<GfxArch>,
    /// Architecture of an NVIDIA GPU.
    pub sm_arch: Option<SmArch>,
    /// Newest PTX version that the driver loads.
    pub ptx_version: Option<PtxVersion>,
    /// Whether launch parameters are grid constants.
    pub grid_constants: bool,
}

/// A kernel lowered to PTX; never made here.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// The PTX text, zero-terminated.
    pub ptx: Vec<std::ffi::c_char>,
    /// Name of the kernel's function.
    pub entrypoint: String,
    /// The LLVM text that the PTX came from.
    pub ir: String,
    /// Dynamic shared memory of a launch, in bytes.
    pub shared_memory_size: usize,
    /// Which buffers the kernel reads and writes.
    pub io: Vec<BufferIOAttr>,
}

/// A compiled kernel; never made here.
#[derive(Clone, Debug)]
pub enum PlironArtifact {
    /// For an NVIDIA GPU.
    NvptxCode(NvptxModule),
    /// For any other target: `cubecl-cuda` matches with a wildcard beside the one above.
    Other,
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NvptxCode(module) => f.write_str(&module.ir),
            Self::Other => f.write_str("no code"),
        }
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(
        &mut self,
        _kernel: KernelDefinition,
        _options: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic {
            reason: "this build has no LLVM: enable the feature `cpp` of cubecl-cuda".into(),
            backtrace: BackTrace::capture(),
        })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

/// The NVIDIA target.
pub mod nvptx {
    /// Versions of the PTX language.
    pub mod ptx_version {
        use std::fmt;

        /// A version of the PTX language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(u32);

        impl PtxVersion {
            /// The newest version that a driver loads: none, as no PTX is made here.
            pub fn for_driver(_driver_version: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "ptx{}", self.0)
            }
        }
    }
}

/// What the targets have in common.
pub mod shared {
    /// Features of a device that the LLVM generator can use.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// A GPU target.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// An NVIDIA GPU.
            Nvptx,
        }

        /// Takes nothing away: CUDA C++ compiles every kernel here.
        pub fn restrict_features(_properties: &mut DeviceProperties, _target: GpuTarget) {}
    }
}
