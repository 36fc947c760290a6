"""The program ``vla-bt``: one file per verb group, each with ``add_parser(subparsers)`` and functions returning an exit code."""
