# SPDX-License-Identifier: BSD-3-Clause
"""Compile and build the RPM packages as Fedora does, and compare them with the Debian packages."""
import pytest

from support.py.packages import build_debs, build_rpms, check_rpms_beside_debs, named, run
from support.py.systemd import needs


@pytest.fixture(scope="module", name="rpms")
def rpms_fixture(tmp_path_factory):
    """The directory with the packages."""
    needs("rpmbuild")
    directory = tmp_path_factory.mktemp("rpms")
    build_rpms(directory)
    return directory


def test_files(rpms, tmp_path):
    """With Fedora's options, meson installs exactly the files that the Debian packages contain."""
    build_debs(tmp_path)
    check_rpms_beside_debs(rpms, tmp_path)


def test_programs_run(rpms, tmp_path):
    """The programs in the packages start; pkg-config reports where the library actually is."""
    for name in ("ivshmem-tools", "ivshmem-devel", "ivshmem-libs"):
        run("sh", "-c", 'cd "$1" && rpm2cpio "$2" | cpio -id --quiet', "sh", tmp_path,
            named(rpms, name))
    for name in ("ivshmem", "ivshmem-client", "ivshmem-device", "ivshmem-server"):
        assert run(tmp_path / "usr" / "bin" / name, "--version")
    pc, = tmp_path.glob("usr/lib*/pkgconfig/libivshmem.pc")
    library = run("pkg-config", "--variable=libdir", pc).strip()
    assert (tmp_path / library.lstrip("/") / "libivshmem.so.0").exists()
