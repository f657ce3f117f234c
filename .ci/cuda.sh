# Type-checks the features `cuda` and `vulkan`, tests and benches included. This needs neither a GPU
# nor a CUDA toolkit nor, with the stand-in for cubecl-llvm, an LLVM.
set -euo pipefail

# The stand-in changes the lockfile: check in a workspace of links that has its own.
workspace=target/cuda-workspace
rm -rf "$workspace"
mkdir -p "$workspace"
ln -s "$PWD"/{crates,tests,benches} "$workspace"
cp Cargo.toml Cargo.lock "$workspace"

cargo clippy --release -p higanbana-cli -p higanbana --all-targets \
    --no-default-features --features flex,cuda,vulkan \
    --manifest-path "$workspace/Cargo.toml" --target-dir target \
    --config 'patch.crates-io.cubecl-llvm.path=".ci/cubecl-llvm"' -- -D warnings
