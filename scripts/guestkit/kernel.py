# SPDX-License-Identifier: BSD-3-Clause
"""The distribution's own kernel for guests: downloaded and unpacked, never installed.

Kept in ${XDG_CACHE_HOME:-~/.cache}/ivshmem/kernel/VERSION/ as

    vmlinuz  config  lib/modules/VERSION/...

A version is put there by a rename, so it is complete or absent. What is there is used without
asking the network; to get a newer kernel remove the directory.

Environment: IVSHMEM_KERNEL, a kernel image to use instead, and with it IVSHMEM_MODULES, its
directory of modules (as /lib/modules/VERSION, with a modules.dep).
"""

import contextlib
import fcntl
import os
import pathlib
import re
import shutil

from .proc import KitError, find_program, run_tool, wait_until

#: What depends on the newest kernel for virtual machines: Debian's name, Ubuntu's name.
METAPACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual")

#: The parts of one kernel, whichever way the distribution cuts it.
_PART = re.compile(r"linux-(?:image|image-unsigned|modules|binary)-\d\S*")

_OWN = "set IVSHMEM_KERNEL=/path/to/vmlinuz and IVSHMEM_MODULES=/path/to/lib/modules/VERSION"


class Kernel:
    """version; image: path of the vmlinuz; modules: directory of its modules, or None."""

    def __init__(self, version, image, modules):
        self.version = version
        self.image = pathlib.Path(image)
        self.modules = pathlib.Path(modules) if modules else None

    def with_dependencies(self, names):
        """Paths of the .ko files to insert for these modules, in order.

        Built-in ones are left out. Reads modules.dep instead of asking modprobe, which would
        obey the host's /etc/modprobe.d.
        """
        if not names:
            return []
        if not self.modules:
            raise KitError("the guest needs kernel modules: set IVSHMEM_MODULES to the directory "
                           f"lib/modules/VERSION that belongs to {self.image}")
        depends = {}
        for line in self._index("modules.dep"):
            module, _, rest = line.partition(":")
            depends[_name(module)] = (module, rest.split())
        builtin = {_name(line) for line in self._index("modules.builtin")}
        order = []
        for name in names:
            if _name(name) in builtin:
                continue
            if _name(name) not in depends:
                raise KitError(f"kernel {self.version} has no module {name}")
            module, before = depends[_name(name)]
            order += [m for m in list(reversed(before)) + [module] if m not in order]
        return [self.modules / module for module in order]

    def _index(self, name):
        try:
            return (self.modules / name).read_text().split("\n")[:-1]
        except OSError as e:
            raise KitError(f"{e.filename}: {e.strerror}; make it with depmod") from e


def _name(module):
    return os.path.basename(module.strip()).split(".ko")[0].replace("-", "_")


def cache_directory():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base) / "ivshmem" / "kernel"


def find():
    """The Kernel for guests: from the environment, from the cache, or downloaded now."""
    image = os.environ.get("IVSHMEM_KERNEL")
    if image:
        modules = os.environ.get("IVSHMEM_MODULES")
        for path in filter(None, (image, modules)):
            if not os.access(path, os.R_OK):
                raise KitError(f"cannot read {path}, which IVSHMEM_KERNEL or IVSHMEM_MODULES names")
        return Kernel(os.path.basename(os.path.normpath(modules)) if modules else "given",
                      image, modules)
    kernel = cached()
    if kernel:
        return kernel
    try:
        cache_directory().mkdir(parents=True, exist_ok=True)
        with _locked(cache_directory()):
            return cached() or _fetch(cache_directory())
    except OSError as e:
        raise KitError(f"cannot use the cache directory {cache_directory()}: {e}; "
                       "set XDG_CACHE_HOME to a directory that you can write to") from e


def cached():
    """The newest complete kernel of the cache, or None."""
    best = None
    for image in cache_directory().glob("[0-9]*/vmlinuz"):
        version = image.parent.name
        if best is None or _sortable(version) > _sortable(best.version):
            best = Kernel(version, image, image.parent / "lib" / "modules" / version)
    return best


def _sortable(version):
    return [int(word) for word in re.findall(r"\d+", version)]


@contextlib.contextmanager
def _locked(directory):
    """Only one downloads; whoever waited finds it in the cache. The kernel drops the lock of who
    dies, so whatever temporary directory there is when one has it, is left over."""
    with open(directory / ".lock", "w") as lock:

        def taken():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                return False

        if not taken():
            print("waiting for another process that downloads a guest kernel ...", flush=True)
            if not wait_until(taken, 600):
                raise KitError(f"another process holds {directory}/.lock for 10 minutes")
        yield


def _fetch(cache):
    for left_over in cache.glob(".new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    new = cache / f".new-{os.getpid()}"
    new.mkdir()
    try:
        packages = _packages()
        print(f"downloading a guest kernel ({', '.join(packages)}) into {cache}", flush=True)
        _download(packages, new)
        version = _unpack(new)
        os.rename(new / "kernel", cache / version)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return cached()


def _packages():
    """Names of the packages that make up the distribution's kernel for virtual machines."""
    if not find_program("apt-get") or not find_program("dpkg-deb"):
        raise KitError("no apt-get here to download a guest kernel with: " + _OWN)
    for attempt in ("as it is", "after an update"):
        if attempt == "after an update":
            _update_lists("no package list knows a guest kernel")
        for meta in METAPACKAGES:
            found, new = [], _parts_of(meta)
            while new:
                found += new
                new = [p for part in new for p in _parts_of(part) if p not in found]
            if found:
                return list(dict.fromkeys(found))
    raise KitError(f"none of the packages {', '.join(METAPACKAGES)} is known to apt: " + _OWN)


def _parts_of(package):
    try:
        shown = run_tool(["apt-cache", "show", "--no-all-versions", package], 60)
    except KitError:
        return []
    depends = " ".join(re.findall(r"^(?:Pre-)?Depends: (.*)$", shown, re.M))
    # Of alternatives (signed | unsigned) the first is the usual one.
    firsts = [entry.split("|")[0].split() for entry in depends.split(",")]
    return [words[0] for words in firsts if words and _PART.fullmatch(words[0])]


def _update_lists(why):
    if os.geteuid() != 0:
        raise KitError(f"{why}. Run this once: sudo apt-get update")
    run_tool(["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", "update"], 600,
             "apt-get update ...")


def _download(packages, into):
    # As root apt would drop to its own user, who cannot write into somebody's cache directory.
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download"]

    def so_far():
        size = sum(f.stat().st_size for f in into.rglob("*") if f.is_file())
        return f"downloading a guest kernel: {size / 1e6:.0f} MB so far"

    try:
        run_tool(command + packages, 900, so_far, cwd=into)
    except KitError as e:
        # Perhaps a new version has replaced the one that the lists name.
        _update_lists(str(e))
        run_tool(command + _packages(), 900, so_far, cwd=into)


def _unpack(new):
    """Make new/kernel out of the packages in new; returns the kernel's version."""
    raw = new / "raw"
    for deb in sorted(new.glob("*.deb")):
        run_tool(["dpkg-deb", "-x", str(deb), str(raw)], 300, f"unpacking {deb.name} ...")
    kernel = new / "kernel"
    kernel.mkdir()
    images = sorted(raw.glob("boot/vmlinuz-*")) + sorted(raw.glob("usr/lib/modules/*/vmlinuz"))
    trees = sorted(raw.glob("lib/modules/*")) + sorted(raw.glob("usr/lib/modules/*"))
    if not images or not trees:
        raise KitError("the downloaded packages have no kernel image or no modules: " + _OWN)
    version = trees[0].name
    images[0].rename(kernel / "vmlinuz")
    for config in raw.glob(f"boot/config-{version}"):
        config.rename(kernel / "config")
    (kernel / "lib" / "modules").mkdir(parents=True)
    trees[0].rename(kernel / "lib" / "modules" / version)
    # depmod looks in lib/modules or usr/lib/modules, as it was built: let it find both.
    (kernel / "usr").mkdir()
    (kernel / "usr" / "lib").symlink_to("../lib")
    depmod = find_program("depmod")
    if not depmod:
        raise KitError("depmod is missing: install the package kmod")
    run_tool([depmod, "-b", str(kernel), version], 120, "indexing modules ...")
    return version
