"""The person of the stop benchmark: the demo's, who can also spoil the simulated camera."""

from __future__ import annotations

import time

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node

from vla_bt.ros.demo_operator import DemoOperator


class BenchOperator(DemoOperator):
    """Sets the simulator's ``camera_fault`` besides all that a person does."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._parameters = node.create_client(SetParameters, "sim/set_parameters")

    def set_camera_fault(self, fault: str, timeout_s: float = 5.0) -> bool:
        """Set it; False when the simulator did not answer or refused."""
        if not self._parameters.wait_for_service(timeout_sec=timeout_s):
            return False
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=fault)
        future = self._parameters.call_async(SetParameters.Request(parameters=[Parameter(name="camera_fault", value=value)]))
        limit_s = time.monotonic() + timeout_s
        while not future.done() and time.monotonic() < limit_s:
            time.sleep(0.002)
        return future.done() and all(result.successful for result in future.result().results)
