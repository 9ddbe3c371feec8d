"""Images for training: where they come from, how they are prepared, and the random numbers of a whole run."""
