# SPDX-License-Identifier: BSD-3-Clause
"""Run `meson install`, and look up the installed files."""
import json
import pathlib
import shutil
import subprocess


def install(build, destination):
    """Install a build below a directory. Return: the installed files, as paths that begin with the
    prefix."""
    subprocess.run([shutil.which("meson"), "install", "-C", str(build), "--no-rebuild", "--quiet",
                    "--destdir", str(destination)], check=True, capture_output=True, timeout=120)
    return sorted("/" + str(path.relative_to(destination))
                  for path in pathlib.Path(destination).rglob("*") if not path.is_dir())


def _intro(build, name):
    return json.loads((pathlib.Path(build) / "meson-info" / f"intro-{name}.json").read_text())


def version(build):
    """Return: the project's version."""
    return _intro(build, "projectinfo")["version"]


def option(build, name):
    """Return: the value of a meson option."""
    return next(entry["value"] for entry in _intro(build, "buildoptions") if entry["name"] == name)
