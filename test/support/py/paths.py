# SPDX-License-Identifier: BSD-3-Clause
"""Directories of the sources and of the build under test."""
import os
import pathlib

SOURCE = pathlib.Path(__file__).resolve().parents[3]
TEST = SOURCE / "test"
BUILD = pathlib.Path(os.environ.get("IVSHMEM_BUILD", SOURCE / "build")).resolve()
