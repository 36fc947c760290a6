"""ament_python package and plain pip package in one; every dependency is declared here and nowhere else."""

import os
import sys
from glob import glob

from setuptools import find_packages, setup

NAME = "vla_bt"
ENGINE = find_packages(include=["vla_bt", "vla_bt.*"])
MAPPED = {
    "vla_bt.trees": "trees",
    "vla_bt.behaviours": "behaviours",
    "vla_bt.config": "config",
}

if not os.path.isdir("trees"):  # colcon's develop mode links vla_bt/ alone into a folder of its own
    sys.exit("vla_bt: colcon build --symlink-install can't map trees/ to vla_bt.trees; leave it out, or use pip install -e .")

setup(
    name=NAME,
    version="0.1.0",
    description="Language-driven autonomy for a mobile robot: a VLA policy under a behaviour tree, on ROS 2",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[*ENGINE, *MAPPED],
    package_dir=MAPPED,
    package_data={
        "": ["*.yaml", "*.xml", "*.json", "*.txt"],
        "vla_bt.config": ["*/*.yaml"],
        "vla_bt.policy": ["weights/*/*"],
        "vla_bt.dashboard": ["assets/*"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/vla_bt"]),
        ("share/vla_bt", ["package.xml"]),
        ("share/vla_bt/launch", glob("launch/*.launch.py")),
        ("share/vla_bt/config", glob("config/*.yaml") + glob("config/*.xml")),
        ("share/vla_bt/config/plans", glob("config/plans/*.yaml")),
        ("share/vla_bt/config/policies", glob("config/policies/*.yaml")),
        ("share/vla_bt/config/scenarios", glob("config/scenarios/*.yaml")),
        ("share/vla_bt/config/train", glob("config/train/*.yaml")),
    ],
    install_requires=[
        "py_trees>=2.3,<3",
        "numpy>=1.24",
        "opencv-python-headless>=4.8",
        "h5py>=3.8",
        "psutil>=5.9",
        "mcap>=1.6",
        "mcap-ros2-support>=0.5",
        "av>=12",
        "pyarrow>=16",
        "zstandard>=0.22",
        "pyyaml>=6",
        "torch>=2.6",
        "transformers>=4.45",
        "tokenizers>=0.20",
        "safetensors>=0.4",
        "sentencepiece>=0.2",
        "pillow>=10",
        "rich>=13",
        "aiohttp>=3.9",
        "matplotlib>=3.7",
        "pydot>=2",
    ],
    extras_require={
        "ros": [
            "ros-jazzy-rclpy",
            "ros-jazzy-rmw-fastrtps-cpp",
            "ros-jazzy-sensor-msgs",
            "ros-jazzy-geometry-msgs",
            "ros-jazzy-nav-msgs",
            "ros-jazzy-std-msgs",
            "ros-jazzy-std-srvs",
            "ros-jazzy-diagnostic-msgs",
        ],
        "sim": ["mujoco==3.17.0", "pyopengl>=3.1"],
        "train": ["tensorboardx>=2.6"],
        "export": ["onnx>=1.17", "onnxruntime>=1.20", "onnxscript>=0.5"],
        "dev": [
            "pytest>=8",
            "pytest-timeout>=2",
            "hypothesis>=6",
            "hdf5plugin>=4",
            "playwright>=1.40",
            "packaging>=23",
            "setuptools>=70.1",
            "ruff",
            "mypy",
            "types-PyYAML",
            "types-psutil",
        ],
    },
    entry_points={"console_scripts": ["vla-bt = vla_bt.cli.main:main"]},
    # where "ros2 run" and launch files look; pip puts its own script on the path whatever stands here
    options={"develop": {"script_dir": "$base/lib/vla_bt"}, "install": {"install_scripts": "$base/lib/vla_bt"}},
    zip_safe=False,
)
