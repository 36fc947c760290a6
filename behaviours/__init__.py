"""Leaves only, one domain per file. A leaf proposes; it never sends, never blocks and never reads a clock."""
