"""vla_bt: language-driven autonomy for a mobile robot, decided by a behaviour tree.

This package is the engine. It promises to import neither ``py_trees`` nor ``rclpy`` (``vla_bt.ros``,
``vla_bt.trees``, ``vla_bt.behaviours`` and what stands above them aside), so that the rules it holds can be
tested and reused anywhere.
"""

__version__ = "0.1.0"
