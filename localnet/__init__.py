"""Several nodes on one machine: start, stop, break and watch them, with a demonstration and a living market."""
