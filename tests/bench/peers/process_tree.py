"""process_tree.py - a process with all that it has started: stopped, continued, ended

Who calls adopt_orphans() stays the ancestor of all that is started below it, also of daemons whose parent has ended: so a
tree can be found by its root, in /proc. Linux only.
"""

import ctypes
import os
import signal
import time

PR_SET_CHILD_SUBREAPER = 36
END_SECONDS_MAX = 10


def adopt_orphans():
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _parents():
    """{process: its parent}, of all that have not ended."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    state, parent = stat.read().rpartition(")")[2].split()[:2]
            except OSError:  # it has gone meanwhile
                continue
            if state not in "ZX":
                parents[int(name)] = int(parent)
    return parents


def _below(root, spared=()):
    """All of them, but for the trees of those to be spared."""
    parents = _parents()
    found, new = set(), {root}
    while new:
        found |= new
        new = {process for process, parent in parents.items() if parent in new and process not in spared} - found
    return (found & parents.keys()) - {root}


def _send(processes, number):
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            pass


def _stop_below(root, spared=()):
    """Until there is none that was started meanwhile."""
    stopped = set()
    while new := _below(root, spared) - stopped:
        _send(new, signal.SIGSTOP)
        stopped |= new
    return stopped


def stop(root):
    _send({root}, signal.SIGSTOP)
    _stop_below(root)


def go_on(root):
    _send(_below(root) | {root}, signal.SIGCONT)


def end_below(root, spared=()):
    """What it has started is killed, all at once, but for the trees of those to be spared. False: something is still there."""
    deadline = time.monotonic() + END_SECONDS_MAX
    while processes := _stop_below(root, spared):
        _send(processes, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def end_all():
    """The same of the caller, which also forgets them."""
    is_over = end_below(os.getpid())
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:  # that was the last
        pass
    return is_over
