#!/usr/bin/env bash
# Compares what a proof found with what it has to show: proof-table.sh FOUND [LIST]. FOUND has a line for each
# row, `row<TAB>figures`, as `tests::proof` and scripts/mutants.sh write it; LIST is scripts/proof.txt.
#
# Prints a Markdown table, then a line that counts. Exit 0: each row of the list is there, has as much as is
# asked for, and lost nothing. 1: not so. 3: nothing but rows that say they were skipped is wrong.
set -euo pipefail

exec awk '
function trim(text) { gsub(/^[ \t]+|[ \t]+$/, "", text); return text }

# The figure of this name, as in "12 seeds, 0 lost"; -1 if it is not there.
function figure(figures, name,    parts, n, i, at) {
    n = split(figures, parts, ",")
    for (i = 1; i <= n; i++) {
        parts[i] = trim(parts[i])
        at = index(parts[i], " ")
        if (substr(parts[i], at + 1) == name && parts[i] ~ /^[0-9]+ /) return substr(parts[i], 1, at - 1) + 0
    }
    return -1
}

# What is wrong with a row, if anything is.
function verdict(row, figures,    parts, n, i, at, least, name, has) {
    n = split(asked[row], parts, ",")
    for (i = 1; i <= n; i++) {
        parts[i] = trim(parts[i])
        at = index(parts[i], " ")
        least = substr(parts[i], 1, at - 1) + 0
        name = substr(parts[i], at + 1)
        has = figure(figures, name)
        if (has < least) return "TOO LITTLE: " (has < 0 ? "no" : has) " " name
    }
    n = split(none[row] ",lost,survived,failures", parts, ",")
    for (i = 1; i <= n; i++) {
        name = trim(parts[i])
        if (name == "") continue
        has = figure(figures, name)
        if (has > 0) return "LOST: " has " " name
        if (has < 0 && index("," none[row] ",", name)) return "NOT SAID: " name
    }
    return "ok"
}

function show(row, figures, said) {
    printf "| %s | %s | %s | %s |\n", row, figures, (row in listed ? asked[row] : "nothing"), said
    if (said == "ok") ok++
    else if (said == "SKIPPED") skipped++
    else wrong++
}

FILENAME == ARGV[1] {
    if ($0 ~ /^#/ || trim($0) == "") next
    split($0, cells, "|")
    row = trim(cells[1])
    rows[++count] = row
    listed[row] = 1
    asked[row] = trim(cells[2])
    none[row] = trim(cells[3])
    next
}

{
    at = index($0, "\t")
    row = substr($0, 1, at - 1)
    figures = substr($0, at + 1)
    if (!(row in listed) && !(row in times)) rows[++count] = row
    found[row, ++times[row]] = figures
}

END {
    print "| proof | found | asked for | |"
    print "|---|---|---|---|"
    for (r = 1; r <= count; r++) {
        row = rows[r]
        if (!(row in times)) show(row, "nothing", "MISSING")
        for (t = 1; t <= times[row]; t++) {
            figures = found[row, t]
            show(row, figures, figures ~ /^SKIPPED: / ? "SKIPPED" : verdict(row, figures))
        }
    }
    printf "\n%d rows ok, %d wrong, %d skipped\n", ok, wrong, skipped
    exit wrong ? 1 : skipped ? 3 : ok ? 0 : 1
}
' "${2:-$(dirname "${BASH_SOURCE[0]}")/proof.txt}" "$1"
