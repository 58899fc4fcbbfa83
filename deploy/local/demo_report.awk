# demo_report.awk: from what demo.sh has gathered to its report
#
#   awk -v shown=RUN -v ratio_max=R -f demo_report.awk FACTS NODES PULLS PULLS WORKERS WORKERS REPORT_JSON
#
# FACTS are demo.sh's own lines; NODES, PULLS and WORKERS are tables of `roost ls`, the last two from before and after;
# REPORT_JSON is the sort job's. Tables and JSON are of the run that is shown in full: the one whose CPU seconds are in the
# middle. Exit status: 0 all checks hold, 1 one does not, 2 the files are not what they should be.

# ---------------------------------------------------------------- reading

function die(what) {
    print "demo_report.awk: " what > "/dev/stderr"
    broken = 1
    exit 2
}

# The number behind "name": in a line of JSON that our own job has printed.
function number_in(line, name,    at) {
    at = index(line, "\"" name "\": ")
    if (at == 0) {
        die("no " name " in: " line)
    }
    return substr(line, at + length(name) + 4) + 0
}

function text_in(line, name,    at, rest) {
    at = index(line, "\"" name "\": \"")
    rest = substr(line, at + length(name) + 5)
    return at == 0 ? "" : substr(rest, 1, index(rest, "\"") - 1)
}

FNR == 1 {
    file++
    delete column
    for (i = 1; i <= NF; i++) {
        column[$i] = i
    }
}

file == 1 && $1 == "machine" { sub(/^machine /, ""); machine = $0; next }
file == 1 && $1 == "gnu_command" { sub(/^gnu_command /, ""); gnu_command = $0; next }
file == 1 && $1 == "gnu" { gnu_wall[$2] = $3; gnu_cpu[$2] = $4 + $5; next }
file == 1 && $1 == "roost" {
    wall[$2] = $3
    driver[$2] = $4 + $5
    ticks_head[$2] = $9 - $6
    ticks_agents[$2] = $10 - $7
    ticks_workers[$2] = $11 - $8
    own_pages[$2] = $12
    next
}
file == 1 && $1 == "store_resident_kb" { store_kb += $2; next }
file == 1 { fact[$1] = $2; next }

file == 2 && FNR > 1 { name[$column["NODE"]] = $column["HOST"]; number[$column["HOST"]] = $column["NODE"]; next }
file == 3 && FNR > 1 { pulled[$column["NODE"], $column["FROM"]] -= $column["PULLED_BYTES"]; next }
file == 4 && FNR > 1 { pulled[$column["NODE"], $column["FROM"]] += $column["PULLED_BYTES"]; next }
file == 5 && FNR > 1 { done[$column["NODE"]] -= $column["DONE"]; next }
file == 6 && FNR > 1 { done[$column["NODE"]] += $column["DONE"]; next }

file == 7 && /"phase_seconds"/ { phases = $0; next }
file == 7 && /"wall_seconds"/ { job_wall = number_in($0, "wall_seconds"); next }
file == 7 && /"reducers_seconds"/ { reducers = $0; next }
file == 7 && /^  "maps"/ { maps_all = number_in($0, "maps"); next }
file == 7 && /^  "partitions"/ { parts_all = number_in($0, "partitions"); next }
file == 7 && /"bytes_in_place": [0-9]+,$/ { in_place = number_in($0, "bytes_in_place"); next }
file == 7 && /"bytes_moved": [0-9]+,$/ { least_all = number_in($0, "bytes_moved"); next }
file == 7 && /"records_mapped"/ {
    count += 0 # an index, also the first time
    host[count] = text_in($0, "host")
    maps[count] = number_in($0, "maps")
    parts[count] = number_in($0, "reducers")
    mapped[count] = number_in($0, "records_mapped")
    reduced[count] = number_in($0, "records_reduced")
    count++
    next
}
# a row of bytes_from_to
file == 7 && /^    \[/ {
    gsub(/[][,]/, " ")
    for (i = 1; i <= NF; i++) {
        least[from_row + 0, i - 1] = $i
    }
    from_row++
}

# ---------------------------------------------------------------- telling

function megabytes(bytes) { return sprintf("%.1f", bytes / 1e6) }

function median(values, n,    i, j, kept, sorted) {
    for (i = 1; i <= n; i++) {
        sorted[i] = values[i]
        for (j = i; j > 1 && sorted[j - 1] > sorted[j]; j--) {
            kept = sorted[j]
            sorted[j] = sorted[j - 1]
            sorted[j - 1] = kept
        }
    }
    return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function matrix(title, is_measured,    row, column_at, bytes) {
    printf "\n%s\n  %-12s", title, ""
    for (column_at = 0; column_at < count; column_at++) {
        printf " %12s", "from " host[column_at]
    }
    print ""
    for (row = 0; row < count; row++) {
        printf "  %-12s", host[row]
        for (column_at = 0; column_at < count; column_at++) {
            bytes = is_measured ? pulled[number[host[row]], number[host[column_at]]] : least[column_at, row]
            printf " %12s", row == column_at ? "-" : megabytes(bytes)
        }
        print ""
    }
}

function verdict(holds, text) {
    printf "  %-3s  %s\n", holds ? "yes" : "NO", text
    failed += !holds
}

function tell_result() {
    printf "%.0f records of 100 bytes, %.3f GB, sorted over %d nodes of one machine\n%s\n\n", \
        fact["records"], bytes / 1e9, fact["nodes"], machine
    printf "  %-12s %18s %18s\n", "", "in", "out"
    printf "  %-12s %18.0f %18.0f   duplicate keys: %s\n", \
        "records", fact["records"], fact["records_out"], fact["duplicates"]
    printf "  %-12s %18s %18s   sum of the CRC-32 of all records\n", "checksum", fact["sum_in"], fact["sum_out"]
}

function tell_seconds() {
    printf "\nseconds%s\n  %-12s %10s %10s\n", \
        (runs > 1 ? ", medians of " runs " runs of each, in turns" : ""), "", "wall", "CPU"
    printf "  %-12s %10.2f %10.2f   %s\n", "GNU sort", median(gnu_wall, runs), median(gnu_cpu, runs), gnu_command
    printf "  %-12s %10.2f %10.2f   CPU of run %d: head %.2f, agents %.2f, workers %.2f, driver %.2f\n", \
        "Roost", median(wall, runs), median(cpu, runs), shown, ticks_head[shown] / fact["ticks"], \
        ticks_agents[shown] / fact["ticks"], ticks_workers[shown] / fact["ticks"], driver[shown]
    printf "  %-12s %10.2f %10.2f   CPU, by run:%s\n", \
        "Roost / GNU", median(wall, runs) / median(gnu_wall, runs), median(ratios, runs), ratios_text
    print "  CPU is user and system time by the kernel's books: of the two programs as the shell's `time` tells it, of"
    print "  daemons and their workers what /proc/PID/stat has grown by. Roost's wall time includes fsync, GNU sort's does not."
}

function phase(name, seconds, text) { printf "  %-12s %10.2f   %s\n", name, seconds, text }

function tell_phases() {
    printf "\nphases of run %d, in seconds\n", shown
    phase("start", fact["start"], "head and agents; not in the times above")
    phase("pre-fault", fact["fill"], "the rest of filling " fact["nodes"] " stores of " megabytes(fact["store_bytes"]) \
        " MB with memory; not in the times above")
    phase("open", number_in(phases, "open") + number_in(phases, "check"), "connect, look at the input")
    phase("sample", number_in(phases, "sample"), "read keys here and there, choose the splits")
    phase("map", number_in(phases, "map"), "until the last map is done; reducers may have begun")
    phase("reduce", number_in(phases, "reduce"), "until the last part is on disk; over all reducers: " \
        sprintf("sort %.2f, write %.2f, fsync %.2f", \
            number_in(reducers, "sort"), number_in(reducers, "write"), number_in(reducers, "sync")))
    phase("finish", number_in(phases, "finish"), "compare sums, clear up")
    printf "  %-12s %10.0f   MB/s of input, by wall time\n", "rate", bytes / 1e6 / wall[shown]
}

function tell_bytes() {
    printf "\nbytes of run %d, in MB\n", shown
    amount("in place", in_place, "read by reducers where a map of the same node had left them")
    amount("pulled", pulled_all, "copied between nodes, as the agents counted")
    amount("the least", least_all, "for each reducer, what its node did not hold, by the task table")
    printf "  %-12s %10.4f   pulled / the least\n", "ratio", (least_all > 0 ? pulled_all / least_all : 1)
    matrix("pulled, as the agents counted, in MB", 1)
    matrix("the least, by the task table, in MB", 0)
}

function tell_tasks(    i) {
    printf "\ntasks of run %d\n  %-12s %10s %10s %10s %16s %16s\n", \
        shown, "", "maps", "reducers", "agent says", "records mapped", "records reduced"
    for (i = 0; i < count; i++) {
        printf "  %-12s %10d %10d %10d %16.0f %16.0f\n", \
            host[i], maps[i], parts[i], done[number[host[i]]], mapped[i], reduced[i]
    }
}

function amount(name, size, text) { printf "  %-12s %10s   %s\n", name, megabytes(size), text }

function tell_memory() {
    printf "\nmemory at its peak, in MB\n"
    amount("stores", store_kb * 1024, "shared memory of the agents, each store once")
    amount("processes", own_pages[shown] * fact["page"], "own memory of head, agents, workers and driver, together")
}

END {
    if (broken) {
        exit 2
    }
    if (file != 7 || count == 0 || from_row != count) {
        die("a table or the job's report is not whole")
    }
    bytes = fact["records"] * 100
    runs = fact["runs"]
    for (run = 1; run <= runs; run++) {
        cpu[run] = driver[run] + (ticks_head[run] + ticks_agents[run] + ticks_workers[run]) / fact["ticks"]
        ratios[run] = gnu_cpu[run] > 0 ? cpu[run] / gnu_cpu[run] : 0
        ratios_text = ratios_text sprintf(" %.2f", ratios[run])
    }
    for (key in pulled) {
        pulled_all += pulled[key]
    }
    all_nodes = count == fact["nodes"]
    for (i = 0; i < count; i++) {
        all_nodes = all_nodes && maps[i] > 0 && parts[i] > 0
        records_mapped += mapped[i]
        records_reduced += reduced[i]
        agents_say += done[number[host[i]]]
    }

    tell_result()
    tell_seconds()
    tell_phases()
    tell_bytes()
    tell_tasks()
    tell_memory()

    print "\nchecks"
    verdict(fact["records"] == fact["records_out"] && records_mapped == fact["records"] && \
        records_reduced == fact["records"], "as many records out as in, as many mapped, as many reduced")
    verdict(fact["sum_in"] "" == fact["sum_out"] "", \
        "sorted, with the checksum of the input, says sortcheck, which shares no code with the sort")
    verdict(all_nodes, "every node ran map and reduce tasks")
    verdict(agents_say == maps_all + parts_all, "the agents have run as many tasks to their ends as the job has")
    verdict(in_place + least_all == bytes, "bytes in place and the least to be pulled are all bytes")
    verdict(pulled_all <= ratio_max * least_all, sprintf("pulled at most %.2f x the least", ratio_max))
    exit failed > 0
}
