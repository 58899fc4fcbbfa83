"""metg.py - METG(50 %) of peers in Python

Graph, kernel, checks and search are the bench's own C, called in the shared object that $METG_LIBRARY names: driver and
workers load it. A peer says how it runs one graph; measure() gives its run() to the search.
"""

import ctypes
import functools
import os

WIDTH = 32
STEPS = 20  # Roost's and StarPU's graphs have 1,000 rows: here those would take minutes each
REPETITIONS = 1  # each round is one


class Place(ctypes.Structure):  # struct metg_place
    _fields_ = [(name, ctypes.c_uint32) for name in ("pattern", "width", "step", "column")]
    _fields_ += [("iterations", ctypes.c_uint64)]


class Output(ctypes.Structure):  # struct metg_output
    _fields_ = [("step", ctypes.c_int64), ("column", ctypes.c_int64)]


RUN = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, ctypes.POINTER(ctypes.c_double))


@functools.cache
def library():
    found = ctypes.CDLL(os.environ["METG_LIBRARY"])  # the interpreter is free while a function of it runs
    found.metg_kernel.restype = ctypes.c_double
    found.metg_kernel.argtypes = [ctypes.c_uint64]
    found.metg_measure.argtypes = [RUN, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    found.metg_steps.argtypes = [ctypes.c_uint64, ctypes.c_uint32]
    found.metg_tasks.restype = ctypes.c_uint64
    return found


def task(pattern, step, column, iterations, *inputs):
    """One task of a graph: its inputs and its result are struct metg_output, as bytes."""
    metg, place, count = library(), Place(pattern, WIDTH, step, column, iterations), len(inputs)
    sizes = (ctypes.c_size_t * count)(*map(len, inputs))
    wrong = metg.metg_check(ctypes.byref(place), (ctypes.c_char_p * count)(*inputs), sizes, count)
    if wrong >= 0:
        raise ValueError(f"step {step} column {column}: input {wrong} of {count} is not the output that it should be")
    output = bytes(Output(step, column))
    metg.metg_kernel(iterations)
    return output


def measure(name, size, run_graph):
    """METG of pattern `name`, as an answer of peer.py. run_graph(graph) returns the seconds from the first submission until
    all tasks are known to have ended."""
    metg, pattern = library(), library().metg_pattern_find(name.encode())
    steps = metg.metg_steps(size, STEPS)
    failures, ns, is_above = [], ctypes.c_double(), ctypes.c_bool()

    def run(_, iterations, seconds_out):
        try:
            seconds_out[0] = run_graph(Graph(pattern, steps, iterations))
            return 0
        except BaseException as failure:  # through C it would be lost
            failures.append(failure)
            return -1

    tasks = metg.metg_tasks(pattern, WIDTH, steps)
    status = metg.metg_measure(RUN(run), None, tasks, REPETITIONS, ctypes.byref(ns), ctypes.byref(is_above))
    if failures:
        raise failures[0]
    if status != 0:
        raise RuntimeError("the kernel needs a processor with AVX2 and FMA")
    return {"ns": ns.value, "steps": steps, "above": is_above.value}


class Graph:
    """Rows of tasks, each with the columns of the row before that it reads."""

    def __init__(self, pattern, steps, iterations):
        self.pattern, self.steps, self.iterations = pattern, steps, iterations

    def submit(self, call):
        """call(pattern, step, column, iterations, *inputs) of each task, whose inputs are what it returned before."""
        metg, columns = library(), (ctypes.c_uint32 * WIDTH)()
        before, called = [], []
        for step in range(self.steps):
            row = []
            for column in range(metg.metg_row_tasks(self.pattern, WIDTH, step)):
                count = metg.metg_reads(self.pattern, WIDTH, step, column, columns)
                inputs = [before[columns[i]] for i in range(count)]
                row.append(call(self.pattern, step, column, self.iterations, *inputs))
            called += row
            before = row
        return called

    def check(self, outputs):
        """That these are the results of all tasks, in order."""
        wanted = self.submit(lambda pattern, step, column, *_: bytes(Output(step, column)))
        if list(outputs) != wanted:
            raise ValueError("a result is not that of its task")
