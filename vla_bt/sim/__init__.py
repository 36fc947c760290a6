"""The simulated robot: a MuJoCo room with boxes and a cup, deterministic for a seed. Knows no ROS and no tree."""
