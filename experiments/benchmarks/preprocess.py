"""How fast preprocessing is, where its time goes, and how it compares with the usual script.

    python experiments/benchmarks/preprocess.py                      # generated dancers, networks of RTMPose's cost
    python experiments/benchmarks/preprocess.py --videos FOLDER --detector F.onnx --pose F.onnx --feet F.onnx

The usual script takes one frame after the other in one process: decode, detect, RTMPose, DWPose, draw, write. Ours runs
on Ray Data, two workers of one thread each. Both use the same files and networks, in one run; starting Ray and loading
networks is in neither figure. Generated networks have the operations of the lightweight models (YOLOX-tiny at 416 px,
RTMPose-m and DWPose-m at 256×192) in convolutions of random weights, and find people by the colour of a rectangle.
"""

import argparse
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import ray
from onnx import TensorProto, helper, numpy_helper
from rtmlib import YOLOX, RTMPose, draw_skeleton

from hia.config import Config
from hia.config_files import load_config
from hia.data import importers
from hia.data.building import build_store, plan_jobs, run_here
from hia.data.encoders import load_encoders
from hia.data.fingerprint import preprocessing_settings
from hia.data.preprocess import Job, Worker
from hia.data.records import Outcome
from hia.video import probe, read_frames, write_video
from orchestration.cluster import connect
from orchestration.preprocess import RayRunner

# Multiplications and additions of one picture, in 10⁹, as their authors report them.
COST = {"detector": 6.45, "pose": 2.2, "feet": 2.2}
BALLAST_CHANNELS = 64
PERSON = (220, 30, 60)
HALF = (0.16, 0.4)
THREADS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, help="folder of videos (generated ones)")
    for role in COST:
        parser.add_argument(f"--{role}", type=Path, metavar="ONNX", help="network (a generated one)")
    parser.add_argument("--frames", type=int, default=150, help="of each generated video (%(default)s)")
    parser.add_argument("--num-videos", type=int, default=4, help="generated (%(default)s)")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=896)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        given = {role: getattr(arguments, role) for role in COST}
        networks = {role: path or write_network(folder / f"{role}.onnx", role) for role, path in given.items()}
        videos = arguments.videos or write_videos(folder / "videos", arguments.num_videos, arguments.frames)
        overrides = [f"preprocess.pose.{role}={path}" for role, path in networks.items()]
        sizes = [f"width={arguments.width}", f"height={arguments.height}", "preprocess.pose.source=estimate"]
        config = load_config("quickstart", [*sizes, *overrides, *arguments.set])
        compare(videos, config, networks, folder)
'''
