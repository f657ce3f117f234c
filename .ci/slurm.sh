# A sweep through a real Slurm: one node on the loopback, from Debian's packages, unpacked and not
# installed. Twelve runs, of which one fails and one is killed half-way; the second submission has just
# these two. Nothing is left of it.
set -euo pipefail
. .ci/skip

cargo build --release

scratch=$(mktemp -d)

# Whatever was started from the scratch folder: daemons, steps, runs.
started() {
    local process
    for process in /proc/[0-9]*; do
        [[ $(readlink "$process/exe" || true) != "$scratch"/* ]] || echo "${process#/proc/}"
    done 2>/dev/null
}
clean_up() {
    local attempt pids
    for attempt in {1..50}; do
        mapfile -t pids < <(started)
        [ ${#pids[@]} -gt 0 ] || break
        kill -KILL "${pids[@]}" 2>/dev/null || true
        sleep 0.1
    done
    rm -rf "$scratch"
}
trap clean_up EXIT

packages=(libhwloc15 liblua5.1-0 libmunge2 munge
    slurm-wlm-basic-plugins slurm-client slurmctld slurmd)
download() {
    mkdir "$scratch/debs"
    cd "$scratch/debs"
    apt-get download -qq "${packages[@]}" ||
        { apt-get update -qq && apt-get download -qq "${packages[@]}"; }
}
if ! (download) >"$scratch/log" 2>&1; then
    tail -n 1 "$scratch/log"
    skip "there is no slurmctld, and Debian's packages could not be had"
fi
root=$scratch/root
for package in "$scratch"/debs/*.deb; do dpkg -x "$package" "$root"; done
plugins=$(find "$root" -name auth_none.so -printf %h)
if [ -z "$plugins" ]; then
    skip "this Slurm cannot do without an authentication service (auth/none)"
fi

free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && (exec 3<>"/dev/tcp/127.0.0.1/$port"); do
        :
    done 2>/dev/null
    echo "$port"
}
host=$(hostname -s) user=$(id -un)
mkdir "$scratch"/{state,spool,bin,sweep}
cat >"$scratch/slurm.conf" <<CONF
ClusterName=ci
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
AuthType=auth/none
CredType=cred/none
PluginDir=$plugins
SlurmUser=$user
SlurmdUser=$user
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$scratch/spool
SlurmctldPidFile=$scratch/slurmctld.pid
SlurmdPidFile=$scratch/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=ci Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$scratch/slurm.conf PATH=$scratch/bin:$root/usr/bin:$root/usr/sbin:$PATH
export LD_LIBRARY_PATH=$(dirname "$plugins"):$plugins

# Waits for a command to succeed.
until_true() {
    local what=$1 attempt
    shift
    for attempt in {1..1500}; do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.2
    done
    echo "waited in vain for $what"
    tail -n 20 "$scratch"/*.log
    exit 1
}
slurmctld-wlm -D >"$scratch/slurmctld.log" 2>&1 &
slurmd-wlm -D -d "$root/usr/sbin/slurmstepd-wlm" >"$scratch/slurmd.log" 2>&1 &
# Their end is no news.
disown -a
is_idle() { [ "$(sinfo -h -o %t)" = idle ]; }
until_true "the node" is_idle
echo "$(sinfo --version) runs"

# The binary as well, so that its processes are among those started here.
cp "${CARGO_TARGET_DIR:-target}/release/higanbana" "$scratch/bin"
cd "$scratch/sweep"
cat >fit.toml <<'TOML'
experiment = "fit"

[[axes]]
adapter = ["lora", "loha"]
options.rank = [2, 4]
seed = [0, 1]

[[axes]]
adapter = ["ia3"]
seed = [0, 1]

# Long enough to be killed.
[[axes]]
adapter = ["lokr"]
steps = [30000]

# Diverges.
[[axes]]
adapter = ["full"]
optimizer = ["sgd"]
rate = [1e30]
TOML

expect() {
    [ "$2" = "$3" ] || { echo "$1: $2, not $3"; exit 1; }
    echo "$1: $2"
}
# Submits what is not done; leaves the number of the job in `job`.
submit() {
    local said
    said=$(higanbana sweep submit plan.jsonl --engine slurm --jobs 2 --go -- --job-name fit 2>&1)
    job=${said##* }
    expect "submitted" "$(head -n 1 <<<"$said")" "$1"
}
is_over() { [ -z "$(squeue -h -j "$job")" ]; }
# The tasks of a job that Slurm has started.
tasks() { squeue -h -r -t all -j "$job" -o %K | sort -n | xargs; }
# Indices of the runs in a state.
runs_that_are() {
    (higanbana sweep collect plan.jsonl --json 2>/dev/null || true) |
        sed -n "s/.*\"index\":\([0-9]*\),.*\"state\":\"$1\".*/\1/p" | xargs
}
results() { stat -c '%n %i %Y' runs/*/result.json | sort; }

higanbana sweep plan fit.toml -o plan.jsonl
submit "12 of 12 runs"
long=$(sed -n 's/.*"index":10,"run":"\([^"]*\)".*/\1/p' plan.jsonl)
is_half_way() { [ "$(wc -l <"runs/$long/metrics.jsonl")" -ge 20 ]; }
until_true "run 10 to be half-way" is_half_way
scancel --signal=KILL --full "${job}_10"
until_true "the end of the first array" is_over
expect "tasks" "$(tasks)" "0 1 2 3 4 5 6 7 8 9 10 11"
expect "done" "$(runs_that_are done)" "0 1 2 3 4 5 6 7 8 9"
expect "interrupted" "$(runs_that_are interrupted)" "10"
expect "failed" "$(runs_that_are failed)" "11"
grep -H . runs/*/error.txt
results >before

submit "2 of 12 runs"
until_true "the end of the second array" is_over
expect "tasks" "$(tasks)" "10 11"
expect "done" "$(runs_that_are done)" "0 1 2 3 4 5 6 7 8 9 10"
expect "results of before that changed" "$(results | comm -13 - before | wc -l)" 0

# The run that fails is planned anew, the others are known by their parameters.
sed -i 's/rate = \[1e30\]/rate = [0.01]/' fit.toml
higanbana sweep plan fit.toml -o plan.jsonl --overwrite
submit "1 of 12 runs"
until_true "the end of the third array" is_over
expect "tasks" "$(tasks)" "11"
higanbana sweep collect plan.jsonl -o table.csv
expect "rows of the table" "$(tail -n +2 table.csv | grep -c ',done,')" 12
