# `.ci/run` itself, with steps made for it: one that lacks its tool is not called passed, and fails in CI.
set -euo pipefail

scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
mkdir "$scratch/.ci"
cp .ci/run .ci/skip "$scratch/.ci"
echo true >"$scratch/.ci/good.sh"
echo false >"$scratch/.ci/bad.sh"
printf '. .ci/skip\nskip "no tool"\n' >"$scratch/.ci/bare.sh"

# The last line and the status of a run of these steps.
expect() {
    local ci=$1 steps=$2 said status=0
    said=$(CI=$ci "$scratch/.ci/run" $steps) || status=$?
    said="$(tail -n 1 <<<"$said"), status $status"
    [ "$said" = "$3" ] || { echo "$steps with CI=$ci: $said, not $3"; exit 1; }
    echo "$steps with CI=$ci: $said"
}
expect "" "good" "passed: good, status 0"
expect "" "good bare" "passed: good; skipped: bare, status 0"
expect "" "good bare bad" "passed: good; skipped: bare; failed: bad, status 1"
expect true "good bare" "passed: good; failed: bare, status 1"
