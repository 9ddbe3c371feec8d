"""Batch normalisation on CUDA: sums over a fixed cut of the rows, added in order, then one pass over the maps."""
