# Format, clippy and documentation, in the release profile: the build scripts and the macros that
# the tests compiled serve again.
set -euo pipefail

cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || rustup component add clippy

cargo fmt --check
cargo fmt --check --manifest-path .ci/cubecl-llvm/Cargo.toml
cargo clippy --release --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps
