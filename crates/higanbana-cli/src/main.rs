//! The binary.

use std::process::ExitCode;

use higanbana_lab::experiment::Lab;

// Burn's CPU backend allocates every result; glibc would hand large blocks back to the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    higanbana_cli::main(Lab::new)
}
