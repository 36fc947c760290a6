"""The web page: what the robot sees, decides and did, live and afterwards. Knows no ROS."""
