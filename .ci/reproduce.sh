# The chapters that take no more than a minute, measured again and held against what is committed. The longer ones have
# some of their cells computed again by `tests/committed.rs`.
set -euo pipefail

cargo build --release
for chapter in adapters rank initialisation; do
    "${CARGO_TARGET_DIR:-target}/release/higanbana" reproduce "$chapter" --check
done
