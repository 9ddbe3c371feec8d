"""Counts memory traffic from the log of a checked run: sectors of global requests, bank wavefronts of shared ones.

A request is what the lanes of a warp do when they execute the same access for the same time since they last waited. A
global request moves sectors of 32 bytes; at best as many as its different bytes fill. A shared request of up to 4 bytes
a lane takes a wavefront for each different word in the bank that has most; accesses of 8 and 16 bytes go by halves and
quarters of the warp. At best each of those parts takes one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alexdsl_cuda.emulator.watch import COPY, LOAD
from alexdsl_cuda.emulator.watch_ir import SHARED

# Columns of the table of sites: what requests to global memory moved, and what those to shared memory took.
REQUESTS, BYTES, SECTORS, IDEAL_SECTORS, SHARED_REQUESTS, SHARED_BYTES, WAVEFRONTS, IDEAL_WAVEFRONTS = range(8)
COLUMNS = 8


def distinct(values: Any, count: int) -> int:
    """How many different values the first ``count`` are; they are sorted in place."""
    values[:count].sort()
    found = 0
    for k in range(count):
        if k == 0 or values[k] != values[k - 1]:
            found += 1
    return found


def count_global(t: Any, at: Any, size: Any, lanes: int, scratch: Any) -> None:
    """Counts one request to global memory."""
    n = total = 0
    for k in range(lanes):
        total += size[k]
        for sector in range(at[k] >> 5, ((at[k] + size[k] - 1) >> 5) + 1):
            scratch[n] = sector
            n += 1
    sectors = distinct(scratch, n)
    for k in range(lanes):
        scratch[k] = at[k]
    covered = distinct(scratch, lanes) * size[0]
    t[REQUESTS] += 1
    t[BYTES] += total
    t[SECTORS] += sectors
    t[IDEAL_SECTORS] += min((covered + 31) >> 5, sectors)


def count_shared(t: Any, at: Any, size: Any, lane: Any, lanes: int, scratch: Any, banks: Any) -> None:
    """Counts one request to shared memory."""
    part = 32 if size[0] <= 4 else 16 if size[0] == 8 else 8
    t[SHARED_REQUESTS] += 1
    k = 0
    while k < lanes:
        group, n = lane[k] // part, 0
        while k < lanes and lane[k] // part == group:
            t[SHARED_BYTES] += size[k]
            for w in range(at[k] >> 2, ((at[k] + size[k] - 1) >> 2) + 1):
                scratch[n] = w
                n += 1
            k += 1
        scratch[:n].sort()
        banks[:] = 0
        most = 0
        for w in range(n):
            if w == 0 or scratch[w] != scratch[w - 1]:
                banks[scratch[w] & 31] += 1
                most = max(most, banks[scratch[w] & 31])
        t[WAVEFRONTS] += most
        t[IDEAL_WAVEFRONTS] += 1


def step_end(word: Any, site: Any, first: int, count: int) -> int:
    """The end of what one warp does between two sync points: where the thread goes down, or another warp begins."""
    t = word[first] & 0xFFFF
    r = first
    while r < count:
        other = word[r] & 0xFFFF
        if site[r] < 0 or other < t or other >> 5 != t >> 5:
            break
        t = other
        r += 1
    return r


def count_traffic(address: Any, site: Any, word: Any, kinds: Any, table: Any) -> None:
    """Counts the requests that a log's records make up, in a table with a row for each site."""
    count = len(site)
    # A copy makes a request to each memory: what is counted is twice the site, plus one if the memory is shared.
    keys = 2 * len(kinds)
    times, most, first_of = np.zeros(keys, np.int64), np.zeros(keys, np.int64), np.zeros(keys, np.int64)
    scratch, banks = np.zeros(1024, np.int64), np.zeros(32, np.int64)
    begin = 0
    while begin < count:
        if site[begin] < 0:
            begin += 1
            continue
        end = step_end(word, site, begin, count)
        most[:] = 0
        lane = -1
        for r in range(begin, end):
            if word[r] & 0xFFFF != lane:
                lane = word[r] & 0xFFFF
                times[:] = 0
            key = 2 * site[r] + (1 if word[r] & SHARED else 0)
            times[key] += 1
            most[key] = max(most[key], times[key])
        total = 0
        for key in range(len(most)):
            first_of[key] = total
            total += most[key]
        filled, what = np.zeros(total, np.int64), np.zeros(total, np.int64)
        at, size = np.zeros((total, 32), np.int64), np.zeros((total, 32), np.int64)
        who = np.zeros((total, 32), np.int64)
        lane = -1
        for r in range(begin, end):
            if word[r] & 0xFFFF != lane:
                lane = word[r] & 0xFFFF
                times[:] = 0
            key = 2 * site[r] + (1 if word[r] & SHARED else 0)
            g = first_of[key] + times[key]
            times[key] += 1
            n = filled[g]
            if n < 32 and word[r] >> 16 & 255:
                at[g, n], size[g, n], who[g, n] = address[r], word[r] >> 16 & 255, lane & 31
                filled[g] = n + 1
            what[g] = key
        for g in range(total):
            s = what[g] >> 1
            if filled[g] == 0 or not LOAD <= kinds[s] <= COPY:
                continue
            if what[g] & 1:
                count_shared(table[s], at[g], size[g], who[g], filled[g], scratch, banks)
            else:
                count_global(table[s], at[g], size[g], filled[g], scratch)
        begin = end
