"""Peers of the benchmark commands, each a process of its own that works whenever it is asked (``benchmarks.turns``)."""
