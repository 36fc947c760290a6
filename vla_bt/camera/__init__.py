"""Frames: the shared-memory ring they travel in, and the sources they come from. Knows no ROS."""
