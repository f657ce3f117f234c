# The law battery on `wgpu`, over lavapipe, Mesa's Vulkan driver for the CPU.
set -euo pipefail
. .ci/skip

find_lavapipe() {
    find /usr/share/vulkan/icd.d -name 'lvp_icd*.json' 2>/dev/null | sort | head -n 1
}

install_lavapipe() {
    local root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo -n)
    "${root[@]}" apt-get update -qq &&
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers libvulkan1
}

driver=$(find_lavapipe || true)
if [ -z "$driver" ]; then
    install_lavapipe >/dev/null || true
    driver=$(find_lavapipe || true)
fi
if [ -z "$driver" ]; then
    skip "there is no Vulkan driver (mesa-vulkan-drivers), and none could be installed"
fi

XDG_RUNTIME_DIR=$(mktemp -d)
trap 'rm -r "$XDG_RUNTIME_DIR"' EXIT
export XDG_RUNTIME_DIR VK_DRIVER_FILES=$driver

# Kernels are compiled at run time, so the host code need not be optimised.
export CARGO_TARGET_DIR=target/wgpu CARGO_PROFILE_DEV_DEBUG=false CARGO_INCREMENTAL=0
export RUSTFLAGS="-D warnings"
laws=(cargo test -p higanbana --no-default-features --features "flex,wgpu" --test laws -- wgpu)

# A filter that matches no test would pass.
"${laws[@]}" --list | grep ': test$' >/dev/null || { echo "no law has wgpu in its name"; exit 1; }
"${laws[@]}"
