"""What the scripts of this folder share: they time Higanbana and a peer in turns, on the same work, in this run.

Each round times one run there and one here, in f32 on as many threads as there are processors. Given are the least wall times of
all rounds and the least CPU times, all threads together. (A processor that others use too makes both longer; PyTorch's threads
also spin while they wait, which counts as CPU time.) Peak memory is what is resident at most while a case is made and run,
beyond what the process held before.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import time
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch

ROOT = Path(__file__).parent.parent


def resident(pid, field):
    """A number of megabytes: `VmRSS` now, `VmHWM` at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field))) / 1024


def forget_peak(pid):
    Path(f"/proc/{pid}/clear_refs").write_text("5")


class Ours:
    """The program that was built, as a child."""

    def __init__(self, bench):
        build = ["cargo", "bench", "-q", "-p", "higanbana", "--bench", bench, "--no-run", "--message-format=json"]
        lines = subprocess.run(build, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
        self.program = next(m["executable"] for m in map(json.loads, lines) if m.get("target", {}).get("name") == bench)
        self.start()

    def start(self):
        self.child = subprocess.Popen([self.program, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.names = self.child.stdout.readline().strip().split("|")

    def cpu(self):
        """User and system time, of all threads."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def run(self, case, count):
        cpu, wall = self.cpu(), []
        for _ in range(count):
            self.child.stdin.write(f"{case}\n")
            self.child.stdin.flush()
            wall.append(float(self.child.stdout.readline()))
        return min(wall), (self.cpu() - cpu) / count

    def peak(self, case):
        """In a new process, which holds nothing of other cases."""
        self.child.stdin.close()
        self.child.wait()
        self.start()
        before = resident(self.child.pid, "VmRSS")
        self.run(case, 2)
        return resident(self.child.pid, "VmHWM") - before


class Theirs:
    """A function of the peer, made by `make`."""

    def __init__(self, make):
        torch.manual_seed(0)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        forget_peak("self")
        self.before = resident("self", "VmRSS")
        self.once = make()

    def run(self, count):
        cpu, wall = time.process_time(), []
        for _ in range(count):
            start = time.perf_counter()
            self.once()
            wall.append(time.perf_counter() - start)
        return min(wall), (time.process_time() - cpu) / count

    def peak(self):
        return resident("self", "VmHWM") - self.before


def row(label, pairs):
    """Ours, theirs and the ratio, of each pair."""
    columns = [f"{ours:9.1f} {theirs:9.1f} {ours / max(theirs, 1e-6):6.2f}" for ours, theirs in pairs]
    print(f"{label:40} " + "   ".join(columns), flush=True)


def compare(doc, bench, passes, make, memory=False):
    """Prints the table. `make(name, step)` gives the peer's function for a case."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--rounds", type=int, default=5)
    if len(passes) > 1:
        parser.add_argument("--forward", action="store_true", help="leave the training steps out")
    arguments = parser.parse_args()
    ours = Ours(bench)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; milliseconds, MB")
    heads = ["wall", "CPU"] + ["peak"] * memory
    print(f"{'':40} " + "   ".join(f"{head:>9} {'torch':>9} {'ratio':>6}" for head in heads))
    for name in filter(lambda name: arguments.filter in name, ours.names):
        for step in passes[:1] if getattr(arguments, "forward", False) else passes:
            case = f"{name} step" if step else name
            peak = ours.peak(case) if memory else ours.run(case, 1)
            theirs = Theirs(lambda: make(name, step))
            _, cpu = theirs.run(2)
            # So many at a time that the clock of CPU time, a hundredth of a second, can tell.
            count = max(1, round(0.3 / max(cpu, 1e-3)))
            best = [[float("inf")] * 2 for _ in range(2)]
            for _ in range(arguments.rounds):
                for least, measured in zip(best, (ours.run(case, count), theirs.run(count))):
                    least[:] = map(min, least, measured)
            pairs = [[side * 1e3 for side in pair] for pair in zip(*best)]
            row(case if len(passes) > 1 else name, pairs + [[peak, theirs.peak()]] * memory)
            del theirs
            gc.collect()
