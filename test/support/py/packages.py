# SPDX-License-Identifier: BSD-3-Clause
"""Builds Debian and RPM packages from this tree, and lists their files."""
import functools
import io
import os
import re
import stat
import subprocess
import tarfile

from support.py.paths import SOURCE, TEST

#: {name of a Debian package: name of the RPM package}, in dependency order
PACKAGES = {"libivshmem0": "ivshmem-libs", "libivshmem-dev": "ivshmem-devel",
            "ivshmem-tools": "ivshmem-tools", "ivshmem-dkms": "ivshmem-dkms"}
#: Built without optimization to save time.
ENVIRONMENT = {"DEB_BUILD_OPTIONS": "noopt parallel=2", "DEBFULLNAME": "Packager",
               "DEBEMAIL": "packager@example.org"}
#: Fedora's macros, without which rpm cannot read the spec on this machine.
WITH_MACROS = ["--load", str(TEST / "support" / "rpm" / "macros")]


def run(*words, **environment):
    """Run a command that must succeed. Return: its output."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          env={**os.environ, **environment}, timeout=600, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def build_debs(directory):
    """Build the Debian packages in a directory."""
    run(SOURCE / "scripts" / "make-deb", directory, **ENVIRONMENT)


def build_rpms(directory, *options):
    """Build the RPM packages in a directory, with additional rpmbuild options."""
    # Debian's rpm does not know what is installed, because dpkg has installed it.
    run(SOURCE / "scripts" / "make-rpm", directory, "--nodeps", *WITH_MACROS, *options,
        **ENVIRONMENT)


def named(directory, name):
    """Return: the path of the package with this name."""
    return next(directory.glob(f"{name}[-_][0-9]*"))


def unpack_debs(debs, root):
    """Unpack all Debian packages below @root, as meson installs the files for RPM packages."""
    for name in PACKAGES:
        run("dpkg-deb", "-x", named(debs, name), root)
    triplet, = (root / "usr" / "lib").glob("*-linux-*")
    libdir = triplet.rename(root / rpm_libdir().lstrip("/"))
    for library in libdir.glob("*.so.*"):
        library.chmod(0o755)
    run("rm", "-r", root / "usr" / "share" / "doc")


@functools.cache
def rpm_libdir():
    """Return: the library directory in RPM packages."""
    return run("rpm", "--eval", "%{_libdir}").strip()


def _entry(path, mode, owner, target):
    """Return: (path, what must be equal in both kinds of packages). Manual pages are compressed and
    aliased in different ways, and libraries are executable only in RPM packages."""
    if "/share/man/" in path:
        return path.removesuffix(".gz"), "manual page"
    if stat.S_ISLNK(mode):
        return path, f"link to {target}"
    return path, f"{'library' if '.so.' in path else oct(stat.S_IMODE(mode))} {owner}"


def deb_files(path):
    """Return: {path: properties} of all files in a Debian package, with the paths that RPM packages
    use."""
    data = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], capture_output=True, check=True,
                          timeout=60).stdout
    found = {}
    for member in tarfile.open(fileobj=io.BytesIO(data)):
        name = re.sub(r"^/usr/lib/\w+-linux-\w+/", rpm_libdir() + "/", member.name.lstrip("."))
        kind = stat.S_IFLNK if member.issym() else stat.S_IFREG
        if not member.isdir() and not name.startswith("/usr/share/doc/"):
            found.update([_entry(name, kind | member.mode, f"{member.uname}:{member.gname}",
                                 member.linkname)])
    return found


def rpm_files(path):
    """Return: {path: properties} of all files in an RPM package, except licences."""
    wanted = "%{FILENAMES}\t%{FILEMODES}\t%{FILEUSERNAME}:%{FILEGROUPNAME}\t%{FILELINKTOS}"
    found = {}
    for line in run("rpm", "-qp", "--queryformat", f"[{wanted}\n]", path).splitlines():
        name, mode, owner, target = line.split("\t")
        if not stat.S_ISDIR(int(mode)) and not name.startswith("/usr/share/licenses/"):
            found.update([_entry(name, int(mode), owner, target)])
    return found


def check_rpms_beside_debs(rpms, debs):
    """Check that each RPM package has the same files and configuration files as its Debian
    counterpart, and a licence unless it depends on a package that has one; and that the group is
    created."""
    for deb_name, rpm_name in PACKAGES.items():
        deb, rpm = named(debs, deb_name), named(rpms, rpm_name)
        assert rpm_files(rpm) == deb_files(deb), rpm_name
        control = run("dpkg-deb", "--info", deb, "conffiles") \
            if " conffiles " in run("dpkg-deb", "--info", deb) else ""
        assert run("rpm", "-qp", "--configfiles", rpm).split() == sorted(control.split())
        licences = "/usr/share/licenses/" in run("rpm", "-qpl", rpm)
        assert licences != (rpm_name == "ivshmem-devel"), rpm_name
    assert "groupadd -r ivshmem\n" in run("rpm", "-qp", "--scripts", named(rpms, "ivshmem-tools"))
