# SPDX-License-Identifier: BSD-3-Clause
"""Build the Debian packages, check them with lintian, and install, use and purge them in a root
directory with nothing else of this project."""
import os
import subprocess

import pytest

from guestkit import bootstrap, release
from support.py.paths import SOURCE

#: In the order of their dependencies.
PACKAGES = ["libivshmem0", "libivshmem-dev", "ivshmem-tools", "ivshmem-dkms"]

#: Prints the files of the root directory, without what every installation changes.
FILES = """
files() {
	find / -xdev \\( -path /build -o -path /proc -o -path /sys -o -path /dev -o -path /tmp \\
		-o -path /run -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache \\
		-o -path /var/log -o -path /var/backups \\) -prune -o -print |
		grep -vE '^/etc/(ld.so.cache|(passwd|group|shadow|gshadow)-?|\\.pwd\\.lock)$' | sort
}
"""

#: Installs the packages, shares memory between two processes, and purges the packages.
USE = """
set -e
export DEBIAN_FRONTEND=noninteractive
files > /tmp/before
dpkg -i $1
getent group ivshmem > /dev/null
ivshmem-server -F -S /tmp/iv.sock -r memfd: -l 4M -n 2 2> /tmp/log &
server=$!
i=0
until ivshmem put /tmp/iv.sock 4096 hello 2> /dev/null || [ $i -gt 100 ]; do
	i=$((i + 1)) && sleep 0.1
done
[ "$(ivshmem get /tmp/iv.sock 4096 5)" = hello ] || { cat /tmp/log; exit 1; }
kill $server && wait $server
ivshmem-device --version && ivshmem-client --version
ls /usr/src/ivshmem-*/dkms.conf /usr/include/ivshmem/peer.h
dkms status | grep -q ivshmem
dpkg --purge $2
files > /tmp/after
diff /tmp/before /tmp/after && echo "nothing is left"
"""


def run(*words, **environment):
    """Run a command that must succeed. Return: its output."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          env={**os.environ, **environment}, timeout=600, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module", name="debs")
def debs_fixture(tmp_path_factory):
    """The directory with the packages, which are built without optimization to save time."""
    directory = tmp_path_factory.mktemp("debs")
    run(SOURCE / "scripts" / "make-deb", directory, DEB_BUILD_OPTIONS="noopt parallel=2",
        DEBFULLNAME="Packager", DEBEMAIL="packager@debian.org")
    return directory


def test_names(debs):
    """There is one file for each package."""
    names = sorted(path.name.split("_")[0] for path in debs.iterdir())
    assert names == sorted(PACKAGES)


def test_lintian(debs):
    """lintian finds no errors."""
    run("lintian", "--allow-root", "--fail-on", "error", *debs.glob("*.deb"))


def test_install_use_purge(debs):
    """The packages can be installed, used and purged, and purging removes all of their files."""
    try:
        root = release.folder("stable")
    except bootstrap.Unavailable as error:
        pytest.skip(str(error))
    files = [next(debs.glob(f"{name}_*.deb")).name for name in PACKAGES]
    text = root.run(["sh", "-c", FILES + USE, "sh", " ".join(f"/build/{name}" for name in files),
                     " ".join(reversed(PACKAGES))], 300, build=debs, lines=60)
    assert text.endswith("nothing is left\n"), text
