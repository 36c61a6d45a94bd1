# SPDX-License-Identifier: BSD-3-Clause
"""Test the sources of the guest driver: licence, size, and building them with kernel headers."""
import os
import re

import pytest

from guestkit import cache, debs, distribution_kernel, driver, kernel
from guestkit.proc import KitError, run_tool
from support.py.kernel_modules import complaints, modinfo

#: Limit on the driver's lines of code, without comments and empty lines. Reviewers have to read the
#: whole driver.
LINES_MAX = 1420


@pytest.fixture(scope="module")
def distribution():
    """The Kernel of this machine's distribution, even if guests run a different kernel."""
    return distribution_kernel.find()


@pytest.fixture
def sources(tmp_path):
    """A directory that contains two small modules that use the public headers, but no Kbuild
    file."""
    directory = tmp_path / "sources"
    directory.mkdir()
    for name in ("one", "two"):
        (directory / f"{name}.c").write_text(
            '#include <linux/module.h>\n#include "ivshmem/registers.h"\n'
            '#include "ivshmem/driver.h"\n'
            f'MODULE_LICENSE("GPL");\nMODULE_DESCRIPTION("{name}");\n')
    return directory


def test_licence_of_the_driver():
    """All driver files have the licence that the kernel requires."""
    for path in driver.SOURCES.iterdir():
        assert "SPDX-License-Identifier: GPL-2.0-only" in path.read_text().split("\n", 1)[0], path


def code_lines(text):
    """Return: the number of lines of code in @text, without comments and empty lines."""
    code = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    return sum(1 for line in code.splitlines() if line.strip())


def test_driver_is_short(record_property):
    lines = {path.name: code_lines(path.read_text())
             for path in sorted(driver.SOURCES.glob("*.[ch]"))}
    record_property("lines", f"{sum(lines.values())} ({lines})")
    assert sum(lines.values()) <= LINES_MAX, lines


def test_driver_builds_without_warnings(distribution, tmp_path, monkeypatch):
    """The driver builds without warnings, with W=1 (more warnings than the kernel's own build
    enables) and with sparse. Variables of a parent "make -j2" do not affect the build."""
    monkeypatch.setenv("MAKEFLAGS", " -j2 --jobserver-auth=3,4")
    assert complaints(distribution, tmp_path / "work") == []


def test_driver_builds_without_memory_hotplug(distribution, tmp_path):
    """The driver builds for a kernel that has dma-bufs but no struct pages of device memory. No
    such kernel exists, so the modified headers may cause warnings of their own."""
    work = tmp_path / "work"
    driver.copy_sources(driver.SOURCES, work)
    (work / "undef.h").write_text("#undef CONFIG_ZONE_DEVICE\n")
    said = driver.make(distribution, work, ["modules", "W=1", "CONFIG_ZONE_DEVICE=",
                                            f"KCFLAGS=-include {work}/undef.h"])
    assert "dmabuf.o" in said and "pages.o" not in said, said
    assert not re.search(rf"^{work}/kernel/.*(warning|error):", said, re.MULTILINE), said


def test_information_of_the_module(distribution):
    """The module has an alias, through which udev loads it for a device with any subsystem,
    revision and class (PROTOCOL.md, R-1)."""
    said = modinfo(driver.module(distribution))
    assert said["license"] == ["GPL"]
    assert said["alias"] == ["pci:v00001AF4d00001110sv*sd*bc*sc*i*"]
    assert said["description"] and said["description"][0]
    project = re.search(r"version: '([\d.]+)'", (driver.ROOT / "meson.build").read_text())[1]
    assert said["version"] == [project]
    assert said["vermagic"][0].split()[0] == distribution.version


def test_make_driver(distribution, tmp_path):
    """"make driver" works as README.md says, for a kernel whose headers are installed."""
    if not driver.installed_headers(distribution.version):
        pytest.skip(f"linux-headers-{distribution.version} is not installed")
    run_tool(["make", "-C", str(driver.ROOT), "driver", f"BUILD={tmp_path}/b",
              f"KERNEL={distribution.version}"], 300)
    assert "ivshmem" in modinfo(tmp_path / "b/driver/ivshmem.ko")["name"]


def test_modules_of_tests_build_without_warnings(distribution, sources, tmp_path):
    paths = driver.modules(distribution, sources, ["one", "two"], tmp_path / "built")
    assert [modinfo(path)["description"] for path in paths] == [["one"], ["two"]]


def test_headers_need_not_be_installed(distribution, sources, tmp_path):
    """Headers that were downloaded and unpacked work the same way as installed ones."""
    headers = driver.downloaded_headers(distribution.version)
    assert headers.is_relative_to(cache.directory("headers"))
    other = kernel.Kernel(distribution.version, distribution.image, distribution.modules,
                          headers=headers)
    path = driver.modules(other, sources, ["one", "two"], tmp_path / "built")[0]
    assert modinfo(path)["vermagic"][0].split()[0] == distribution.version


def test_unpacked_headers_refer_to_themselves(tmp_path):
    """Absolute paths in unpacked packages are changed; otherwise a build would use installed
    headers."""
    here = tmp_path / "usr/src/linux-headers-1-a"
    (tmp_path / "usr/lib/linux-kbuild-1").mkdir(parents=True)
    here.mkdir(parents=True)
    (here / "Makefile").write_text("include /usr/src/linux-headers-1-common/Makefile\n")
    (here / "scripts").symlink_to("/usr/lib/linux-kbuild-1")
    (here / "tools").symlink_to("../../lib/linux-kbuild-1")
    driver.relocate(tmp_path, tmp_path)
    assert (here / "Makefile").read_text() == \
        f"include {tmp_path}/usr/src/linux-headers-1-common/Makefile\n"
    assert os.readlink(here / "scripts") == f"{tmp_path}/usr/lib/linux-kbuild-1"
    assert os.readlink(here / "tools") == "../../lib/linux-kbuild-1"


def test_driver_is_built_once(distribution, sources, tmp_path):
    """A module is rebuilt only when a source file has changed, and never in the source directory.
    """
    before = sorted(path.name for path in sources.iterdir())

    def built():
        return driver.modules(distribution, sources, ["one"], tmp_path / "built")[0]

    first = built()
    made = first.stat().st_mtime_ns
    assert built() == first
    assert first.stat().st_mtime_ns == made
    with open(sources / "one.c", "a") as source:
        source.write("/* another */\n")
    assert built() != first
    assert first.exists(), "another process may be about to use the module"
    assert sorted(path.name for path in sources.iterdir()) == before
    assert not list((tmp_path / "built").rglob(".new-*"))


def test_two_builds_at_once(distribution, sources, tmp_path):
    """If two processes build a module at the same time, the second one uses the result of the
    first."""
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                driver.modules(distribution, sources, ["one"], tmp_path / "built")
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    built = [path.name for path in (tmp_path / "built" / distribution.version).iterdir()
             if path.name != ".lock"]
    assert len(built) == 1, built


def test_build_error_is_shown(distribution, sources, tmp_path):
    with open(sources / "one.c", "a") as source:
        source.write("int broken(void) { return nonsense; }\n")
    with pytest.raises(KitError, match="nonsense"):
        driver.modules(distribution, sources, ["one"], tmp_path / "built")
    assert not list((tmp_path / "built").rglob("one*"))


def test_missing_headers(distribution, tmp_path, monkeypatch):
    """If apt does not know a kernel's headers, the error message says which package to
    install, and which directory of the cache to remove."""
    monkeypatch.setattr(debs, "update_lists", lambda why: None)
    unknown = kernel.Kernel("6.1.0-0-none", distribution.image, None)
    with pytest.raises(KitError) as raised:
        driver.module(unknown, tmp_path)
    assert "linux-headers-6.1.0-0-none" in str(raised.value)
    assert str(distribution_kernel.cache_directory()) in str(raised.value)


@pytest.mark.parametrize("name", ["new", "Stable"])
def test_kernel_that_is_not_offered(name, monkeypatch):
    monkeypatch.setenv("IVSHMEM_GUEST_KERNEL", name)
    with pytest.raises(KitError, match="debug, default, newest, oldest, stable"):
        kernel.find()
