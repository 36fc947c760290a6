"""Who may move the robot and how fast: pure rules of (time, state, input), with no clock and no input of their own."""
