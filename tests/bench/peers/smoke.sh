#!/bin/sh
# smoke.sh ROOST: the peers' table without the peers. What is not installed is a line that says so; METG of a peer in
# Python runs on a stand-in for Dask that does each task at once, and notices a wrong input; a peer is stopped while another
# is measured, and begins anew when it has hung; StarPU's program runs where there is one. No figure is judged.
set -u
roost=${1:?usage: smoke.sh ROOST}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
command -v python3 >/dev/null || { echo "skipped: there is no python3 here"; exit 77; }
if ! grep -qw avx2 /proc/cpuinfo || ! grep -qw fma /proc/cpuinfo; then
    echo "skipped: METG's kernel needs AVX2 and FMA"
    exit 77
fi
work=$(mktemp -d /tmp/roost-peers-XXXXXX) # short: paths of sockets in it are limited to 107 bytes
trap 'rm -rf "$work"' EXIT
export TMPDIR="$work"
failed=0

mkdir "$work/absent" "$work/stand_in"
for module in ray dask distributed vineyard duckdb polars; do
    echo 'raise ImportError("absent")' >"$work/absent/$module.py"
done
echo 'config = type("", (), {"set": lambda of: None})' >"$work/stand_in/dask.py"
printf '#!/bin/sh\nexit 1\n' >"$work/absent/pkg-config"
chmod +x "$work/absent/pkg-config"
cat >"$work/stand_in/distributed.py" <<'end'
import os
import subprocess
import time


class LocalCluster:
    def __init__(self, **options):
        if "DAEMONS" in os.environ:  # one of its own, whose parent has ended
            subprocess.run(["sh", "-c", 'sleep 1000 >&- & echo $! >>"$DAEMONS"'], check=True)

    def close(self):
        pass


class Client(LocalCluster):
    def __init__(self, cluster):
        self.calls = self.submitted = 0

    def submit(self, function, *arguments, pure):
        self.submitted += 1
        if self.submitted == 200 and os.path.exists(os.environ.get("HANG", "")):
            os.remove(os.environ["HANG"])
            time.sleep(1000)
        return function(*arguments)

    def get(self, tasks, keys, sync):
        results = {}
        for key, (function, *arguments) in tasks.items():
            results[key] = function(*[results.get(argument, argument) for argument in arguments])
            self.calls += 1
            if self.calls == int(os.environ["WRONG"]):
                results[key] = bytes(16)
        return [results[key] for key in keys]

    def gather(self, futures):
        return futures


def wait(futures):
    pass
end

# table WORDS...: runs the peers' table with these arguments; what it printed is in $work/table
table() {
    python3 "$here/peers.py" --roost "$roost" --bytes 1048576 --rounds 1 "$@" >"$work/table" 2>&1 ||
        { echo "peers_smoke: exit status $? of: $*"; failed=1; }
}
# has PATTERN: a line of the table matches it
has() {
    grep -Eq "$1" "$work/table" || { echo "peers_smoke: no line of the form: $1"; cat "$work/table"; failed=1; }
}

PATH="$work/absent:$PATH" PYTHONPATH="$work/absent" table --peers starpu,ray,dask,vineyard,duckdb,polars metg_trivial
for name in dask vineyard duckdb polars; do
    has "^$name: not installed \\(absent\\)\$"
done
has '^ray: not installed' # it may be numpy that it misses first
has '^starpu: not installed'
has '^case +roost$'
has '^metg_trivial +(> )?[0-9.e+]+ [a-z]+ \(1x, [0-9]+ rows\)$'

WRONG=-1 PYTHONPATH="$work/stand_in" table --peers dask metg_stencil_1d
has '^case +roost +dask$'
has '^metg_stencil_1d +(> )?[0-9.e+]+ [a-z]+ \(1x, 15 rows\) +(> )?[0-9.e+]+ [a-z]+ \([0-9.e+-]+x, 8 rows\)$'

WRONG=400 PYTHONPATH="$work/stand_in" table --peers dask metg_stencil_1d # in the middle of the second graph
has '^dask: metg_stencil_1d: ValueError.*input [0-2] of 3 is not the output that it should be'
has '^metg_stencil_1d +(> )?[0-9.e+]+ [a-z]+ \(1x, 15 rows\) +failed$'
WRONG=256 PYTHONPATH="$work/stand_in" table --peers dask metg_stencil_1d # the last of the first, which nobody reads
has '^dask: metg_stencil_1d: ValueError.*a result is not that of its task'

# Of what a peer has started, told by the command that is measured in turns with it.
cat >"$work/roost" <<'end'
#!/bin/sh
for daemon in $(cat "$DAEMONS"); do
    sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$daemon/status" >>"$STATES"
done
exec "$ROOST" "$@"
end
chmod +x "$work/roost"
export DAEMONS="$work/daemons" STATES="$work/states" ROOST="$roost"
build=${roost%/*/*}
export ROOST_EXAMPLES="$build/examples" METG_LIBRARY="$build/tests/bench/libbench_metg.so"
touch "$work/hang"
HANG="$work/hang" PYTHONPATH="$work/stand_in" table --roost "$work/roost" --limit 10 --peers dask task_async tasks_and_get
has '^dask: task_async: no answer within 10 s$'
has '^task_async .* failed$'
has '^tasks_and_get .* [0-9.e+]+ [a-z]+( \([0-9.e+-]+x\))?$' # by one that was started anew
grep -q T "$STATES" && ! grep -q '[RSD]' "$STATES" || { echo "peers_smoke: not stopped: $(cat "$STATES")"; failed=1; }
[ "$(wc -l <"$DAEMONS")" -eq 2 ] || { echo "peers_smoke: started so often: $(wc -l <"$DAEMONS")"; failed=1; }
for daemon in $(cat "$DAEMONS"); do
    [ -e "/proc/$daemon" ] && { echo "peers_smoke: a daemon of a peer was left"; failed=1; }
done

if command -v pkg-config >/dev/null && pkg-config --exists starpu-1.3; then
    table --json --peers starpu metg_stencil_1d metg_no_comm
    for pattern in stencil_1d no_comm; do
        has "^\\{\"peer\": \"starpu\", \"case\": \"metg_$pattern\", \"median_ns\": [0-9.]+, \"rounds\": 1, \"steps\": 15, "
    done
else
    echo "peers_smoke: there is no StarPU here (Debian: libstarpu-dev), so its program is not run"
fi

# Ended by a signal when its first row is there: nothing is left, and rows that were done have been printed.
mkdir "$work/ended"
TMPDIR="$work/ended" python3 "$here/peers.py" --roost "$roost" --bytes 1048576 --rounds 1 --peers gnu >"$work/table" 2>&1 &
ended=$!
tries=600
until grep -q '^get_1kb ' "$work/table" || [ $tries -eq 0 ]; do
    tries=$((tries - 1))
    sleep 0.1
done
kill -TERM $ended
wait $ended
[ $? -eq 143 ] || { echo "peers_smoke: a table that a signal ended does not say so"; failed=1; }
has '^get_1kb +[0-9.e+]+ [a-z]+ \(1x\)'
tries=300
while grep -aqs "$work/ended" /proc/[0-9]*/environ && [ $tries -gt 0 ]; do
    tries=$((tries - 1))
    sleep 0.1
done
[ $tries -gt 0 ] || { echo "peers_smoke: a signal left $(grep -als "$work/ended" /proc/[0-9]*/environ)"; failed=1; }
[ -z "$(ls -A "$work/ended")" ] || { echo "peers_smoke: a signal left $(ls -A "$work/ended")"; failed=1; }

[ -e "$here/__pycache__" ] && { echo "peers_smoke: $here/__pycache__ was left in the tree"; failed=1; }
[ $failed -eq 0 ] && echo "peers_smoke: the table says what is there and what is not"
exit $failed
