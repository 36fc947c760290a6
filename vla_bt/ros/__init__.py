"""The ROS 2 side: one file per node, and the adapter that makes ROS topics a ``Robot`` port."""
