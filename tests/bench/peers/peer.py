#!/usr/bin/env python3
"""peer.py NAME - one system that does the cases of peers.py

Says hello with a line of JSON ({}, or {"error": why}), then answers each line `CASE` with {"ns": time per operation}, with {}
when the system has no such thing, or with {"error": ...}. Clusters are started once and warm. Times are of this process.
METG's cases are `metg_PATTERN`: their answer has "steps", too, and "above" when the figure is only known to be above "ns".
"""

import collections
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import metg
import process_tree

FOLDER = os.environ["PEER_FOLDER"]
BYTES = int(os.environ["PEER_BYTES"])
SYNC, ASYNC, PUTS = 200, 1000, 1000


def timed(function, per=1):
    started = time.perf_counter_ns()
    function()
    return (time.perf_counter_ns() - started) / per


class Ray:
    def __init__(self):
        import numpy
        import ray

        self.ray, self.numpy = ray, numpy
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=max(4 * BYTES, 1 << 28))

        @ray.remote
        def nothing(*arguments):
            return None

        self.nothing = nothing
        self.metg_task = ray.remote(metg.task)
        ray.get([nothing.remote() for _ in range(100)])
        self.small = ray.put(b"x" * 1024)
        self.large = numpy.ones(BYTES, dtype=numpy.uint8)

    def get_1kb(self):
        return timed(lambda: [self.ray.get(self.small) for _ in range(PUTS)], PUTS)

    def put_small(self):
        return timed(lambda: [self.ray.put(b"x" * 100) for _ in range(PUTS)], PUTS)

    def put_large(self):
        return timed(lambda: self.ray.put(self.large))

    def task_sync(self):
        return timed(lambda: [self.ray.get(self.nothing.remote()) for _ in range(SYNC)], SYNC)

    def task_async(self):
        return timed(lambda: self.ray.get([self.nothing.remote() for _ in range(ASYNC)]), ASYNC)

    def tasks_and_get(self):
        return timed(lambda: self.ray.get([self.nothing.remote() for _ in range(1000)]))

    def wait_each_1000(self):
        def run():
            refs = [self.nothing.remote() for _ in range(1000)]
            for _ in range(1000):
                _, refs = self.ray.wait(refs)

        return timed(run)

    def wait_all_1000(self):
        def run():
            refs = [self.nothing.remote() for _ in range(1000)]
            self.ray.wait(refs, num_returns=len(refs))

        return timed(run)

    def get_many_10000(self):
        refs = [self.ray.put(i) for i in range(10000)]
        return timed(lambda: self.ray.get(refs))

    def get_refs_10000(self):
        ray = self.ray  # and not self, which would go along with all that it has put

        @ray.remote
        def list_of_refs(count):
            return [ray.put(i) for i in range(count)]

        listed = list_of_refs.remote(10000)
        self.ray.wait([listed])
        return timed(lambda: self.ray.get(listed))

    def queued_10000(self):
        return timed(lambda: self.ray.get([self.nothing.remote() for _ in range(10000)]), 10000)

    def args_10000(self):
        refs = [self.ray.put(i) for i in range(10000)]
        return timed(lambda: self.ray.get(self.nothing.remote(*refs)))

    def returns_3000(self):
        @self.ray.remote(num_returns=3000)
        def many():
            return [None] * 3000

        return timed(lambda: self.ray.get(many.remote()))

    def chain_1000(self):
        def run():
            ref = None
            for _ in range(1000):
                ref = self.nothing.remote(ref)
            self.ray.get(ref)

        return timed(run)

    def fan_in_1000(self):
        return timed(lambda: self.ray.get(self.nothing.remote(*[self.nothing.remote() for _ in range(1000)])))

    def metg(self, graph):
        started = time.perf_counter()
        refs = graph.submit(self.metg_task.remote)
        outputs = self.ray.get(refs)
        seconds = time.perf_counter() - started
        graph.check(outputs)
        return seconds

    def close(self):
        self.ray.shutdown()  # its daemons end with it


class Dask:
    def __init__(self):
        import dask
        from distributed import Client, LocalCluster

        dask.config.set({"distributed.scheduler.worker-ttl": None})  # workers are stopped for as long as others are measured
        self.cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1")
        self.client = Client(self.cluster)
        self.number = 0
        self.client.gather([self.call() for _ in range(100)])

    @staticmethod
    def nothing(*arguments):
        return None

    def call(self, *arguments):
        return self.client.submit(self.nothing, *arguments, pure=False)

    def task_sync(self):
        return timed(lambda: [self.call().result() for _ in range(SYNC // 4)], SYNC // 4)

    def task_async(self):
        return timed(lambda: self.client.gather([self.call() for _ in range(ASYNC)]), ASYNC)

    def tasks_and_get(self):
        return timed(lambda: self.client.gather([self.call() for _ in range(1000)]))

    def queued_10000(self):
        return timed(lambda: self.client.gather([self.call() for _ in range(10000)]), 10000)

    def wait_all_1000(self):
        from distributed import wait

        return timed(lambda: wait([self.call() for _ in range(1000)]))

    def chain_1000(self):
        def run():
            future = None
            for _ in range(1000):
                future = self.call(future)
            future.result()

        return timed(run)

    def fan_in_1000(self):
        return timed(lambda: self.call(*[self.call() for _ in range(1000)]).result())

    def metg(self, graph):
        from distributed import wait

        self.number += 1
        tasks = {}  # all of them go to the scheduler at once, which is faster than one after the other

        def call(*arguments):
            key = f"metg-{self.number}-{len(tasks)}"
            tasks[key] = (metg.task, *arguments)
            return key

        started = time.perf_counter()
        futures = self.client.get(tasks, graph.submit(call), sync=False)
        wait(futures)
        seconds = time.perf_counter() - started
        graph.check(self.client.gather(futures))
        return seconds

    def close(self):
        self.client.close()
        self.cluster.close()


class Vineyard:
    def __init__(self):
        import vineyard

        server = shutil.which("vineyardd") or os.path.join(os.path.dirname(vineyard.__file__), "bdist", "vineyardd")
        socket = os.path.join(FOLDER, "vineyard.sock")
        self.server = subprocess.Popen(
            [server, "--socket", socket, "--meta", "local", "--size", str(4 * BYTES), "--rpc=false"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = next((line for line in self.server.stderr if "will listen on" in line), None)
        if said is None:
            raise RuntimeError(f"vineyardd ended with status {self.server.wait()}")
        threading.Thread(target=lambda: collections.deque(self.server.stderr, maxlen=0), daemon=True).start()
        self.client = vineyard.connect(socket)
        self.small = self.client.put(b"x" * 1024)
        self.large = b"\1" * BYTES

    def get_1kb(self):
        return timed(lambda: [self.client.get(self.small) for _ in range(PUTS)], PUTS)

    def put_small(self):
        return timed(lambda: [self.client.put(b"x" * 100) for _ in range(PUTS)], PUTS)

    def put_large(self):
        def run():
            self.last = self.client.put(self.large)

        ns = timed(run)
        self.client.delete(self.last)
        return ns

    def close(self):
        self.client.close()
        self.server.terminate()
        self.server.wait()


def new_output():
    path = os.path.join(FOLDER, "out")
    for old in glob.glob(path + "*"):
        os.remove(old)
    return path


class Gnu:
    """GNU sort, with as much memory as a store has."""

    def __init__(self):
        if shutil.which("sort") is None:
            raise ImportError("no sort in PATH")

    def sort(self):
        command = ["sort", "--parallel=2", "-S", "128M", "-T", FOLDER, "-o", new_output(), f"{FOLDER}/in"]
        return timed(lambda: subprocess.run(command, check=True, env=dict(os.environ, LC_ALL="C")))

    def close(self):
        pass


class Duckdb:
    """Lines in, sorted lines out."""

    def __init__(self):
        import duckdb

        self.connection = duckdb.connect()
        self.connection.execute("set threads to 2; set preserve_insertion_order to false")

    def sort(self):
        columns = "columns={'line': 'varchar'}, header=false, delim=E'\\x01', quote='', escape='', auto_detect=false"
        query = (
            f"copy (select line from read_csv('{FOLDER}/in', {columns}, max_line_size=1000) order by line[1:10]) "
            f"to '{new_output()}' (format csv, header false, delimiter E'\\x01', quote E'\\x02', escape E'\\x02')"
        )
        return timed(lambda: self.connection.execute(query))

    def close(self):
        self.connection.close()


class Polars:
    """Lines in, sorted lines out."""

    def __init__(self):
        os.environ["POLARS_MAX_THREADS"] = "2"
        import polars

        self.polars = polars

    def sort(self):
        polars = self.polars

        def run():
            lines = polars.read_csv(
                f"{FOLDER}/in", has_header=False, separator="\x01", quote_char=None, new_columns=["line"], infer_schema=False
            )
            lines.sort(polars.col("line").str.slice(0, 10)).write_csv(
                new_output(), include_header=False, separator="\x01", quote_style="never"
            )

        return timed(run)

    def close(self):
        pass


PEERS = {"ray": Ray, "dask": Dask, "vineyard": Vineyard, "gnu": Gnu, "duckdb": Duckdb, "polars": Polars}


def answer_of(peer, case):
    if case.startswith("metg_"):
        return metg.measure(case.removeprefix("metg_"), BYTES, peer.metg) if hasattr(peer, "metg") else {}
    run = getattr(peer, case, None)
    return {} if run is None else {"ns": run()}


def main():
    process_tree.adopt_orphans()  # it is stopped and ended with all that it has started
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this one says when it is to end
    answers, sys.stdout = os.fdopen(os.dup(1), "w", buffering=1), sys.stderr  # what libraries print is no answer
    try:
        peer = PEERS[sys.argv[1]]()
    except ImportError as error:
        print(json.dumps({"error": f"not installed ({error})"}), file=answers)
        return
    except Exception as error:  # a peer that does not start is a line in the table, whatever its reason
        print(json.dumps({"error": f"did not start: {error!r}"}), file=answers)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        print("{}", file=answers)
        for line in sys.stdin:
            try:
                answer = answer_of(peer, line.strip())
            except Exception as error:
                answer = {"error": repr(error)[:300]}
            print(json.dumps(answer), file=answers)
    finally:
        peer.close()


if __name__ == "__main__":
    main()
