# SPDX-License-Identifier: BSD-3-Clause
"""Test the files that are installed for the guest driver."""
import pytest

from guestkit import driver
from guestkit.proc import find_program, run_tool
from support.py.installed import install, option, version


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("installed")


@pytest.fixture
def installed(build, root):
    """The names of all installed files. Tests that use it are skipped if the build option "driver"
    is off."""
    if not option(build, "driver"):
        pytest.skip("this build does not include the driver (-Ddriver=false)")
    return install(build, root)


def test_all_sources_are_installed(build, installed):
    """All of the driver's sources are installed: packaging/meson.build lists every file in kernel/.
    """
    tree = f"{option(build, 'prefix')}/src/ivshmem-{version(build)}"
    kernel = {f"{tree}/kernel/{path.name}" for path in driver.SOURCES.iterdir()
              if path.name == "Kbuild" or path.suffix in (".c", ".h")}
    headers = {f"{tree}/include/ivshmem/{name}" for name in ("driver.h", "registers.h")}
    licences = {f"{tree}/LICENSES/{name}.txt" for name in ("BSD-3-Clause", "GPL-2.0-only")}
    there = {path for path in installed if path.startswith(tree)}
    assert there == kernel | headers | licences | {f"{tree}/dkms.conf"}


def test_no_binary_is_installed(installed):
    assert not [path for path in installed if path.endswith((".ko", ".o"))]


def test_udev_rule_and_configuration_are_installed(build, installed):
    prefix = option(build, "prefix")
    for path in ("udev/rules.d/60-ivshmem.rules", "modules-load.d/ivshmem.conf",
                 "sysusers.d/ivshmem.conf"):
        assert f"{prefix}/lib/{path}" in installed


def test_group_of_the_device_node(build, installed, tmp_path, root):
    """The udev rule gives the device node to the group that the sysusers configuration creates."""
    sysusers = find_program("systemd-sysusers")
    if not sysusers:
        pytest.skip("systemd-sysusers is not installed")
    name = "lib/sysusers.d/ivshmem.conf"
    place = tmp_path / "usr" / name
    place.parent.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    place.write_bytes((root / option(build, "prefix").lstrip("/") / name).read_bytes())
    run_tool([sysusers, f"--root={tmp_path}", place.name], 60)
    groups = [line.split(":")[0] for line in (tmp_path / "etc/group").read_text().splitlines()]
    assert groups == ["ivshmem"]
    rule = (driver.ROOT / "packaging/udev/60-ivshmem.rules").read_text()
    assert 'GROUP="ivshmem", MODE="0660"' in rule


def test_driver_is_not_loaded_unconditionally(build, installed, root):
    """The installed modules-load file has only comments, because udev loads the driver by its
    alias."""
    path = root / option(build, "prefix").lstrip("/") / "lib/modules-load.d/ivshmem.conf"
    lines = path.read_text().splitlines()
    assert lines and all(line.startswith("#") for line in lines)
