# Format, clippy and documentation, in the release profile: the build scripts and the macros that
# the tests compiled serve again.
set -euo pipefail

cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || rustup component add clippy

cargo fmt --check
for apart in .ci/cubecl-llvm crates/higanbana-io/fuzz; do
    cargo fmt --check --manifest-path "$apart/Cargo.toml"
done
cargo clippy --release --workspace --all-targets -- -D warnings
# A workspace of its own, with the versions and features of this one: what is checked serves it too.
cargo clippy --release --locked --manifest-path crates/higanbana-io/fuzz/Cargo.toml \
    --target-dir "${CARGO_TARGET_DIR:-target}" -- -D warnings
# Markdown takes the backslashes of LaTeX before punctuation away.
if grep -rnE '^\s*//[/!].*\\[,;!{}#]' --include='*.rs' crates; then
    echo "these formulas do not survive Markdown" >&2
    exit 1
fi
RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps
