"""Products of matrices, and the convolutions and linear layers that are such products: one tiled loop for all."""
