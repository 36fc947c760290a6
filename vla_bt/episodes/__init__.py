"""18-frame HDF5 episodes: the format and the writer that keeps disk work off the tick."""
