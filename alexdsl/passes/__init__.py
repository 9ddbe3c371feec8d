"""The way through the compiler: one file per pass, and the pipeline in the order in which they run."""
