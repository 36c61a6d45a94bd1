# SPDX-License-Identifier: BSD-3-Clause
"""Build the Debian packages, check them with lintian, and install, use and purge them in a root
directory that contains nothing else from this project; also try the commands given in README. Build
RPM packages from the same files."""
import re
import shutil
import subprocess

import pytest

from guestkit import bootstrap, release
from support.py import readme
from support.py.packages import (ENVIRONMENT, PACKAGES, WITH_MACROS, build_rpms,
                                 check_rpms_beside_debs, run, unpack_debs)
from support.py.paths import BUILD, SOURCE
from support.py.systemd import needs

#: Keeps the variables of a make that runs this test, such as BUILD, out of README's make.
OWN_MAKE = {"MAKEFLAGS": ""}

#: Lists the files in the root directory, except those that every installation changes.
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


def install_commands():
    """Return: the two ways to install that README's first example gives, each as a command that
    builds and one that installs."""
    command, comment = readme.example("## A region for Looking Glass")[0]
    return [way.split(" && ") for way in (command, readme.alternative(comment))]


@pytest.fixture(scope="module", name="debs")
def debs_fixture(tmp_path_factory):
    """The directory with the packages, built with README's command, but outside the source tree."""
    directory = tmp_path_factory.mktemp("build")
    command, _ = install_commands()[1]
    run("sh", "-c", f'cd "$1" && {command}', "sh", SOURCE, BUILD=str(directory), **OWN_MAKE,
        **ENVIRONMENT)
    return directory / "deb"


@pytest.fixture(scope="module", name="root")
def root_fixture():
    """The root directory, in which nothing but the operating system is installed."""
    try:
        return release.folder("stable")
    except bootstrap.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", name="rpms")
def rpms_fixture(debs, tmp_path_factory):
    """A directory with RPM packages. To save time, their files are not compiled, but taken from the
    Debian packages; the spec still determines which files go into which package. test_rpm.py, which
    is slow, compiles them."""
    needs("rpmbuild")
    root = tmp_path_factory.mktemp("root")
    unpack_debs(debs, root)
    directory = tmp_path_factory.mktemp("rpms")
    build_rpms(directory, "--define", "meson :", "--define", "meson_build :", "--define",
               f"meson_install cp -a {root}/. %{{buildroot}}")
    return directory


def test_names(debs):
    """There is one file for each package."""
    names = sorted(path.name.split("_")[0] for path in debs.glob("*.deb"))
    assert names == sorted(PACKAGES)


def test_lintian(debs):
    """lintian finds no errors."""
    run("lintian", "--allow-root", "--fail-on", "error", *debs.glob("*.deb"))


def test_install_use_purge(debs, root):
    """The packages can be installed, used and purged, and purging removes all of their files."""
    files = [next(debs.glob(f"{name}_*.deb")).name for name in PACKAGES]
    text = root.run(["sh", "-c", FILES + USE, "sh", " ".join(f"/build/{name}" for name in files),
                     " ".join(reversed(PACKAGES))], 300, build=debs, lines=60)
    assert text.endswith("nothing is left\n"), text


#: Commands in README that end only when the user interrupts them, each with a condition that is
#: true before that. The client, which would show the pattern, needs a screen.
ENDLESS = {"ivshmem looking-glass test": '[ "$(head -c 4 /dev/shm/looking-glass)" = LGMP ]'}


def check_looking_glass(root, directory, install):
    """Install in the root directory, and run the other commands in README's first example."""
    commands = [command for command, _ in readme.example("## A region for Looking Glass")[1:]]
    assert any(command.startswith(start) for start in ENDLESS for command in commands)
    script = readme.user_script(install, commands, ENDLESS)
    text = root.run(["sh", "-c", script + "ls -l /dev/shm /etc/systemd/system\n"], 60,
                    build=directory, lines=60)
    assert re.search(r"^-rw-rw---- 1 alice kvm +134217728 .* looking-glass$", text, re.M), text
    assert "ivshmem-region-looking-glass.service" in text and "ended: clients have taken" in text


def test_readme_looking_glass_with_packages(root, debs):
    """README's first example works as written, with the Debian packages."""
    check_looking_glass(root, debs.parent, install_commands()[1][1])


def test_readme_looking_glass_with_make_install(root, tmp_path):
    """README's first example works as written, using what "make install" installs. The root
    directory has no compiler, so "make" is run outside it."""
    run("sh", "-c", f'cd "$1" && {" && ".join(install_commands()[0])}', "sh", SOURCE,
        BUILD=str(BUILD), DESTDIR=str(tmp_path / "installed"), **OWN_MAKE)
    check_looking_glass(root, tmp_path, "cp -a /build/installed/. /")


def test_readme_by_hand(root):
    """README's second example, without VMs, works as written. "make" is left out, because the tests
    of the first example run it."""
    words = "To do the same by hand, without VMs:"
    commands = [command for command, _ in readme.example(words)]
    assert commands.pop(0) == "make"
    text = root.run(["sh", "-c", readme.shell_script(commands, "help\\ndump\\n")], 60,
                    build=BUILD, lines=60)
    assert "hello: peer 0 was told: good morning" in text and "(this one)" in text, text
    for word in dict(readme.example(words))[commands[-1]].removeprefix("a prompt: ").split(", "):
        assert word == "help" or re.search(rf"^{word} ", text, re.M), (word, text)


def parsed_spec(tmp_path, *options):
    """Return: the spec with all macros expanded, and the names and licences of its packages."""
    needs("rpmspec")
    text = (SOURCE / "packaging" / "rpm" / "ivshmem.spec.in").read_text()
    path = tmp_path / "ivshmem.spec"
    path.write_text(text.replace("@VERSION@", "1.2.3").replace("@MAINTAINER@", "P <p@x.org>")
                    .replace("@DATE@", "Sun Nov 29 2026"))
    shutil.copy(SOURCE / "packaging" / "systemd" / "sysusers.conf", tmp_path / "ivshmem.sysusers")
    query = ["rpmspec", *WITH_MACROS, "--define", f"_sourcedir {tmp_path}", *options]
    names = run(*query, "-q", "--queryformat", "%{NAME} %{VERSION} %{LICENSE}\n", path)
    return run(*query, "--parse", path), names.splitlines()


@pytest.mark.parametrize("library, options", [
    ("ivshmem-libs", ()),
    ("libivshmem0", ("--define", "suse_version 1600",
                     "--define", "sysusers_generate_pre() generate %*"))])
def test_spec(tmp_path, library, options):
    """rpm can read the spec the way Fedora and openSUSE do, and knows all macros in it."""
    text, names = parsed_spec(tmp_path, *options)
    assert sorted(names) == sorted([
        "ivshmem 1.2.3 BSD-3-Clause AND GPL-2.0-only", "ivshmem-tools 1.2.3 BSD-3-Clause",
        f"{library} 1.2.3 BSD-3-Clause", "ivshmem-devel 1.2.3 BSD-3-Clause",
        "ivshmem-dkms 1.2.3 GPL-2.0-only AND BSD-3-Clause"])
    words = set(re.findall(r"(?<!%)%\{?[a-z_]+", text))
    assert words <= {"%build", "%changelog", "%config", "%description", "%dir", "%files",
                     "%install", "%license", "%package", "%post", "%posttrans", "%postun", "%pre",
                     "%prep", "%preun"}, words
    assert f"Requires:       {library}" in text


def test_rpm_files(rpms, debs):
    """The RPM packages contain the same files as the Debian packages."""
    check_rpms_beside_debs(rpms, debs)


#: Errors that rpmlint reports here because it runs without any distribution's settings, and that
#: are expected: the packages are not signed and have no packager, which a distribution adds; the
#: Group tag is obsolete; the C library's package runs ldconfig; and Debian's compiler does not
#: write the old kind of hash section.
RPMLINT_KNOWN = {"library-without-ldconfig-postin", "library-without-ldconfig-postun",
                 "missing-hash-section", "no-group-tag", "no-packager-tag", "no-signature",
                 "outside-libdir-files", "static-library-without-debuginfo"}


def test_rpmlint(rpms):
    """rpmlint finds no errors other than the known ones."""
    needs("rpmlint")
    done = subprocess.run(["rpmlint", *rpms.glob("*.rpm")], capture_output=True, text=True,
                          timeout=300, check=False)
    errors = dict(re.findall(r"^\S+ E: (\S+)(.*)$", done.stdout, re.M))
    assert "4 packages" in done.stdout and errors.keys() <= RPMLINT_KNOWN, done.stdout
