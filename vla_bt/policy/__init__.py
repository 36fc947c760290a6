"""The policy: what proposes a velocity from a picture and a sentence. Holds torch; knows no ROS and no tree."""
