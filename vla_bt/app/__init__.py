"""Whole applications: the tree of ``vla_bt.trees`` put to work in one of its worlds."""
