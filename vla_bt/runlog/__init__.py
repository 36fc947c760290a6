"""What happened in a run, tick by tick: written beside the robot, read afterwards."""
