#!/usr/bin/env bash
# Makes the sheets anew from the npm packages that `packages.sha256` names: `make.sh FOLDER`, where FOLDER is
# to hold the packages (35 MB). `make.sh` alone uses a temporary folder.
set -euo pipefail
cd "$(dirname "$0")"
data=$PWD
packages=${1:-$(mktemp -d)}
mkdir -p "$packages"
while read -r hash archive; do
    name=${archive#iconify-json-} name=${name%.tgz}
    version=${name##*-} set=${name%-*}
    [ -e "$packages/$archive" ] || (cd "$packages" && npm pack --silent "@iconify-json/$set@$version")
    echo "$hash  $packages/$archive" | sha256sum --check --quiet
    mkdir -p "$packages/$set"
    tar -xzf "$packages/$archive" -C "$packages/$set"
done <packages.sha256
cargo run --release --locked --manifest-path render/Cargo.toml -- manifest.tsv "$packages" "$data"
