# SPDX-License-Identifier: BSD-3-Clause
"""Where the sources and the build under test are."""
import os
import pathlib

SOURCE = pathlib.Path(__file__).resolve().parents[3]
TEST = SOURCE / "test"
BUILD = pathlib.Path(os.environ.get("IVSHMEM_BUILD", SOURCE / "build")).resolve()
