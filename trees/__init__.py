"""Tree composition only: one ``create_<name>_subtree()`` per file, and ``create_root()`` in ``root``."""
