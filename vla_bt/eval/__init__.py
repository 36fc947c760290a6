"""Evaluation: scripted scenarios driven by the whole tree in lockstep, judged by the simulator's truth, with intervals."""
