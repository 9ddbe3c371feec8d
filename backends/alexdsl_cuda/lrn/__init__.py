"""Local response normalisation on CUDA, pixel by pixel along the channels; alone and with max pooling after it."""
