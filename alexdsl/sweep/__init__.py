"""Sweeps: variants of a spec times seeds as ordinary runs, and what is measured of them, with intervals."""
