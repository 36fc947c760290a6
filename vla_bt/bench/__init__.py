"""Benchmarks: what a tick costs, how late it comes, how soon the robot stops, measured on the real parts."""
