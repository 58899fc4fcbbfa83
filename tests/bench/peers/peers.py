#!/usr/bin/env python3
"""peers.py - the same work on Roost and on what else is installed, in one run

Each peer is a process of its own (peer.py NAME, or the StarPU program) that stays up and is given one case after the other;
Roost is `roost bench --json`. A case runs on everybody in turns, round after round, so that a neighbour who comes and goes
slows all of them; then its medians are a row of the table, with the ratio to Roost. All processes are pinned to the same two
cores, and all but the one that is measured are stopped.

What is not installed is a line that says so. A peer that has no such case has an empty place, and one that failed in it a
line below the table. One that gives no answer in time is ended with all that it has started, and begins anew with the next
case. Ended by a signal, it ends the peers and removes its folder.
"""

import argparse
import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import process_tree

HERE = os.path.dirname(os.path.abspath(__file__))
# our case -> (the series of `roost bench`, unit)
CASES = {
    "get_1kb": ("get_local/1KB_again", "ns"),
    "put_small": ("put_small", "ns"),
    "put_large": ("put_large/later", "ms"),
    "task_sync": ("task_sync", "us"),
    "task_async": ("task_async", "us"),
    "tasks_and_get": ("tasks_and_get", "ms"),
    "queued_10000": ("queued/10000", "us"),
    "wait_each_1000": ("wait_1000/each", "ms"),
    "wait_all_1000": ("wait_1000/all", "ms"),
    "get_many_10000": ("get_many_10000", "us"),
    "get_refs_10000": ("get_refs_10000", "ms"),
    "args_10000": ("args_10000", "ms"),
    "returns_3000": ("returns_3000", "ms"),
    "chain_1000": ("chain_1000", "ms"),
    "fan_in_1000": ("fan_in_1000", "ms"),
    "metg_trivial": ("metg/trivial_32", "us"),
    "metg_no_comm": ("metg/no_comm_32", "us"),
    "metg_stencil_1d": ("metg/stencil_1d_32", "us"),
    "sort": ("sort/wall", "s"),
}
PEERS = "starpu,ray,dask,vineyard,gnu,duckdb,polars"
NS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
SECONDS_MAX = 600  # for one case, or to start, unless --limit says otherwise
CLOSE_SECONDS_MAX = 60
SETTLE_SECONDS = 0.2  # what a peer's timers had to do while it was stopped is not the case's
COLUMN = 30
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_tree(process):
    """And what was left by who has ended by itself: that is below nobody but us now."""
    if process.poll() is None:
        process_tree.stop(process.pid)
        process_tree.end_below(process.pid)
        process.kill()
        process.wait()
    process_tree.end_below(os.getpid(), [peer.pid for peer in Peer.everybody if peer.poll() is None])


class Peer:
    """A process that answers a line `CASE` with a line of JSON: {"ns": ...} or {"error": ...}, or {} for no such case.

    Beside "ns" there may be "steps", the rows of METG's graphs, and "above": METG is above that. Between the cases it is
    stopped, with all that it has started.
    """

    everybody = []  # that was started

    def __init__(self, name, command, environment, seconds_max):
        self.name, self.command, self.environment, self.seconds_max = name, command, environment, seconds_max
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environment,
        )
        Peer.everybody.append(self.process)
        try:
            self.hello = self.read()
            self.stop()
        except BaseException:  # a signal while it starts: nobody else knows of it yet
            self.close(True)
            raise

    def read(self):
        if not select.select([self.process.stdout], [], [], self.seconds_max)[0]:
            end_tree(self.process)
            return {"error": f"no answer within {self.seconds_max} s"}
        line = self.process.stdout.readline()
        return json.loads(line) if line else self.has_ended()

    def has_ended(self):
        status = self.process.wait()
        end_tree(self.process)
        return {"error": f"ended with status {status}"}

    def run(self, case):
        if self.process.poll() is not None:
            self.start()
            if "error" in self.hello:
                return {"error": f"it did not start again: {self.hello['error']}"}
        process_tree.go_on(self.process.pid)
        time.sleep(SETTLE_SECONDS)
        try:
            self.process.stdin.write(case + "\n")
            self.process.stdin.flush()
            answer = self.read()
        except BrokenPipeError:
            answer = self.has_ended()
        self.stop()
        return answer

    def stop(self):
        if self.process.poll() is None:
            process_tree.stop(self.process.pid)

    def close(self, is_hurried):
        if self.process.poll() is None:
            process_tree.go_on(self.process.pid)
            if is_hurried:  # it may be in the middle of a case
                self.process.terminate()
            try:
                self.process.stdin.close()
                self.process.wait(CLOSE_SECONDS_MAX)
            except (subprocess.TimeoutExpired, BrokenPipeError):
                end_tree(self.process)


class Roost:
    name = "roost"

    def __init__(self, roost, size, environment, seconds_max):
        self.roost, self.size, self.environment, self.seconds_max = roost, size, environment, seconds_max

    def run(self, case):
        series, unit = CASES[case]
        command = [self.roost, "bench", "--json", "--bytes", str(self.size), "--runs", "3", series]
        bench = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
        )
        try:
            lines, errors = bench.communicate(timeout=self.seconds_max)
        except subprocess.TimeoutExpired:
            return {"error": f"no answer within {self.seconds_max} s"}
        finally:
            end_tree(bench)
        for line in lines.splitlines():
            found = json.loads(line)
            if found["case"] == series:  # "not pinned" is the first where there are several
                more = {member: found[member] for member in ("steps", "above") if member in found}
                return {"ns": found["median"] * NS[unit], **more}
        return {"error": errors.strip().splitlines()[-1] if errors.strip() else "no such line"}

    def close(self, _):
        pass


def start_starpu(folder, environment, seconds_max):
    """Compiled here, against what pkg-config finds; None with a reason when it is not there."""
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "starpu-1.3"], capture_output=True, text=True)
    if flags.returncode != 0:
        return None, "not installed (pkg-config finds no starpu-1.3)"
    program, tree = os.path.join(folder, "starpu"), os.path.join(HERE, "..", "..", "..")
    command = ["cc", "-O2", "-D_GNU_SOURCE", f"-I{tree}", f"-I{tree}/api/include", "-o", program, f"{HERE}/starpu.c"]
    library = environment["METG_LIBRARY"]
    command += [library, f"-Wl,-rpath,{os.path.dirname(library)}", *flags.stdout.split()]
    built = subprocess.run(command, capture_output=True, text=True)
    environment = dict(environment, STARPU_HOME=folder)  # where it keeps what it found out about the machine
    if built.returncode != 0:
        return None, built.stderr.strip()
    return Peer("starpu", [program], environment, seconds_max), None


def start_peers(wanted, folder, environment, seconds_max):
    for name in wanted:
        if name == "starpu" and shutil.which("pkg-config"):
            peer, reason = start_starpu(folder, environment, seconds_max)
        elif name == "starpu":
            peer, reason = None, "no pkg-config"
        else:
            command = [sys.executable, os.path.join(HERE, "peer.py"), name]
            peer, reason = Peer(name, command, environment, seconds_max), None
        if peer is not None and "error" in peer.hello:
            reason = peer.hello["error"]
            peer.close(False)
        if reason is not None:
            print(f"{name}: {reason}")
        else:
            yield peer


def in_unit(ns):
    for unit in ("s", "ms", "us"):
        if ns >= NS[unit]:
            return f"{ns / NS[unit]:.3g} {unit}"
    return f"{ns:.3g} ns"


def median_of(answers):
    """One answer of several: the median, which is only a bound when one of them is."""
    median = dict(answers[0], ns=statistics.median(answer["ns"] for answer in answers))
    return dict(median, above=any(answer["above"] for answer in answers)) if "above" in median else median


def cell(answer, ours):
    if answer is None:
        return ""
    text = ("> " if answer.get("above") else "") + in_unit(answer["ns"])
    notes = [f"{answer['ns'] / ours['ns']:.3g}x"] if ours else []
    notes += [f"{answer['steps']} rows"] if "steps" in answer else []
    return text + (f" ({', '.join(notes)})" if notes else "")


class Progress:
    """A line on the terminal about what runs now."""

    def __init__(self, total):
        self.total, self.began, self.is_shown = total, time.monotonic(), sys.stderr.isatty()

    def show(self, done, text):
        if self.is_shown:
            minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
            print(f"\r\033[K{minutes}:{seconds:02} case {done + 1} of {self.total}: {text}", end="", file=sys.stderr, flush=True)

    def clear(self):
        if self.is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def run_case(case, runners, rounds, show, failures):
    """The median of each who has the case, None of who failed in it; why is added to `failures`. Who failed is left out of
    the further rounds."""
    answers, medians = {}, {}
    for number in range(rounds):
        for runner in [runner for runner in runners if runner.name not in medians]:
            show(f"{case}, round {number + 1} of {rounds}, {runner.name}")
            answer = runner.run(case)
            if "ns" in answer:
                answers.setdefault(runner.name, []).append(answer)
            elif "error" in answer:
                cases = failures.setdefault((runner.name, answer["error"]), [])
                cases += [case] if case not in cases else []
                medians[runner.name] = None
    return medians | {name: dict(median_of(of), rounds=len(of)) for name, of in answers.items()}


def row_of(case, runners, medians):
    ours = medians.get("roost")
    texts = ["failed" if medians.get(runner.name, {}) is None else cell(medians.get(runner.name), ours) for runner in runners]
    return case.ljust(16) + "".join(text.rjust(COLUMN) for text in texts)


def json_of(case, medians):
    for name, median in medians.items():
        if median is not None:
            more = {member: value for member, value in median.items() if member not in ("ns", "rounds")}
            yield json.dumps({"peer": name, "case": case, "median_ns": median["ns"], "rounds": median["rounds"], **more})


def run_cases(cases, runners, options):
    """Each case is printed when it is done."""
    failures, progress = {}, Progress(len(cases))
    if not options.json:
        print("\n" + "case".ljust(16) + "".join(runner.name.rjust(COLUMN) for runner in runners), flush=True)
    for done, case in enumerate(cases):
        medians = run_case(case, runners, options.rounds, lambda text: progress.show(done, text), failures)
        progress.clear()
        for line in json_of(case, medians) if options.json else [row_of(case, runners, medians)]:
            print(line, flush=True)
    if not options.json:
        print("\n(N x: so many times Roost's time, in the same rounds. Rows: of METG's graphs. >: no graph used half of the machine)")
    for (name, error), failed in failures.items():
        print(f"{name}: {', '.join(failed)}: {error}", file=sys.stderr if options.json else sys.stdout)


def end_by_signal(number, _):
    for other in SIGNALS:  # the peers are closed on the way out, once
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def remove(folder):
    """What was ended in the middle of a case may still write for a moment."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(0.1)
    print(f"{folder} could not be removed", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--roost", default=shutil.which("roost"), help="the command (default: the one in PATH)")
    parser.add_argument("--bytes", type=int, default=1 << 28, help="of the large object and of the sort (default: 256 MiB)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=SECONDS_MAX, help="seconds for a case on one of them (default: 600)")
    parser.add_argument("--json", action="store_true", help="one JSON object per case and peer instead of the table")
    parser.add_argument("--peers", default=PEERS, help="which, with commas")
    parser.add_argument("cases", nargs="*", help="which cases (default: all)")
    options = parser.parse_args()
    for name in options.cases:
        if name not in CASES:
            parser.error(f"no case {name}; there are: {' '.join(CASES)}")
    for name in options.peers.split(","):
        if name not in PEERS.split(","):
            parser.error(f"no peer {name}; there are: {PEERS}")
    if options.roost is None:
        parser.error("no roost in PATH; use --roost")
    for number in SIGNALS:
        signal.signal(number, end_by_signal)
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)
    folder = tempfile.mkdtemp(prefix="roost-peers-")
    process_tree.adopt_orphans()
    try:
        measure(options, folder)
    finally:
        if not process_tree.end_all():
            print("not all that was started could be ended", file=sys.stderr)
        remove(folder)


def measure(options, folder):
    environment = dict(os.environ, PEER_FOLDER=folder, PEER_BYTES=str(options.bytes), TMPDIR=folder)
    environment.setdefault("ROOST_DIR", os.path.join(folder, "roost"))
    roost = os.path.abspath(options.roost)
    environment["ROOST_COMMAND"] = roost
    build = os.path.dirname(os.path.dirname(roost))
    environment.setdefault("ROOST_EXAMPLES", os.path.join(build, "examples"))
    environment.setdefault("METG_LIBRARY", os.path.join(build, "tests", "bench", "libbench_metg.so"))
    # Workers of peers find metg.py, and leave nothing beside it.
    environment["PYTHONPATH"] = os.pathsep.join([HERE, *filter(None, [environment.get("PYTHONPATH")])])
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    records = options.bytes // 100
    made = subprocess.run([os.path.join(environment["ROOST_EXAMPLES"], "sortgen"), str(records), f"{folder}/in"])
    if made.returncode != 0:
        print("sort: no input, as sortgen failed")
    runners, is_done = [Roost(roost, options.bytes, environment, options.limit)], False
    try:
        for peer in start_peers(options.peers.split(","), folder, environment, options.limit):
            runners.append(peer)
        run_cases(options.cases or list(CASES), runners, options)
        is_done = True
    finally:
        for runner in runners:
            runner.close(not is_done)


if __name__ == "__main__":
    main()
