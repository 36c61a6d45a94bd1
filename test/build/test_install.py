# SPDX-License-Identifier: BSD-3-Clause
"""Test the files that `make install` installs, and build and run programs with only these files."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from support.py.paths import BUILD, SOURCE
from support.py.programs import is_sanitized

#: The files that are installed outside the prefix. The systemd units read their settings from
#: /etc/ivshmem, regardless of the prefix.
OUTSIDE = ["etc/ivshmem/device-example.conf", "etc/ivshmem/example.conf"]


class Installed:
    """The build under test, installed in a temporary directory."""

    def __init__(self, root):
        self.root = root
        self.run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", root)
        options = {option["name"]: option["value"] for option in
                   json.loads(self.run("meson", "introspect", "--buildoptions", BUILD))}
        self.prefix = root / options["prefix"].lstrip("/")
        self.libraries = self.prefix / options["libdir"]
        self.headers = self.prefix / options["includedir"] / "ivshmem"
        self.manual = self.prefix / options["mandir"]
        self.programs = self.prefix / options["bindir"]

    def run(self, *words, **environment):
        """Run a command, which must succeed. Return: its output."""
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                              env={**os.environ, **environment}, cwd=self.root, timeout=120,
                              check=False)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def pkg_config(self, *words):
        """Return: the words that pkg-config prints. pkg-config finds only the installed library."""
        return self.run("pkg-config", *words, "libivshmem",
                        PKG_CONFIG_LIBDIR=str(self.libraries / "pkgconfig"),
                        PKG_CONFIG_SYSROOT_DIR=str(self.root)).split()

    def build(self, name, *options):
        """Build an example from a copy of its source file. Return: the path of the program."""
        shutil.copy(SOURCE / "examples" / f"{name}.c", self.root)
        program = self.root / f"{name}{''.join(options)}"
        static = ["--static"] if "-static" in options else []
        self.run("gcc", *options, "-o", program, f"{name}.c",
                 *self.pkg_config("--cflags", "--libs", *static))
        return program

    def files(self):
        """Return: the names of all installed files, relative to the root."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*")
                      if not path.is_dir())


@pytest.fixture(scope="module")
def installed():
    """An installation that all tests share."""
    with tempfile.TemporaryDirectory(prefix="ivs-install-") as root:
        yield Installed(pathlib.Path(root))


def version():
    """Return: the version in meson.build."""
    return re.search(r"^  version: '(.*)'", (SOURCE / "meson.build").read_text(), re.M)[1]


def exported():
    """Return: the functions that src/libivshmem.map lists."""
    return set(re.findall(r"^\t(ivs_\w+);", (SOURCE / "src" / "libivshmem.map").read_text(), re.M))


def test_all_files_are_below_the_prefix(installed):
    """All files are installed below the prefix, except those in OUTSIDE."""
    prefix = str(installed.prefix.relative_to(installed.root)) + "/"
    assert [name for name in installed.files() if not name.startswith(prefix)] == OUTSIDE
    for path in (installed.programs / "ivshmem-server", installed.programs / "ivshmem-client",
                 installed.libraries / f"libivshmem.so.{version()}",
                 installed.libraries / "libivshmem.a", installed.manual / "man1/ivshmem-server.1"):
        assert path.is_file(), path
    assert {path.name for path in installed.headers.iterdir()} == {
        path.name for path in (SOURCE / "include" / "ivshmem").glob("*.h")}


def test_one_version_everywhere(installed):
    """pkg-config, the library's file name and ivshmem-client all show the version in meson.build.
    The library's symbolic links resolve to the library's file."""
    assert installed.pkg_config("--modversion") == [version()]
    library = (installed.libraries / "libivshmem.so").resolve()
    assert library.name == f"libivshmem.so.{version()}"
    dynamic = installed.run("readelf", "-d", library)
    soname = re.search(r"SONAME.*\[(.*)\]", dynamic)[1]
    assert (installed.libraries / soname).resolve() == library
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic
    if not is_sanitized(installed.programs / "ivshmem-client"):
        assert version() in installed.run(installed.programs / "ivshmem-client", "--version")


def test_library_exports_what_its_map_lists(installed):
    """The library exports exactly the functions that src/libivshmem.map lists."""
    lines = installed.run("nm", "-D", "--defined-only", "-f", "posix",
                          installed.libraries / "libivshmem.so").splitlines()
    symbols = {line.split()[0].split("@")[0]: line.split()[1] for line in lines}
    functions = {name for name, kind in symbols.items() if kind == "T"}
    assert functions == exported()
    assert {name for name, kind in symbols.items() if kind != "T"} <= {"IVSHMEM_0.1"}


def test_headers_declare_what_is_exported(installed):
    """The functions that the headers declare as public are exactly the exported ones."""
    text = "".join(path.read_text() for path in sorted(installed.headers.iterdir()))
    declared = re.findall(r"^IVS_PUBLIC[^;(]*?\b(ivs_\w+)\(", text, re.M)
    assert len(declared) == len(set(declared))
    assert set(declared) == exported()


def test_every_function_has_a_man_page(installed):
    """man finds a page for every exported function."""
    for function in sorted(exported()):
        text = installed.run("man", "-M", installed.manual, "3", function, MANWIDTH="500",
                             LC_ALL="C.UTF-8")
        assert f" {function}" in text.split("SYNOPSIS")[0], function


def test_no_path_of_the_build_is_installed(installed):
    """No installed text file contains a path in the source or build directory."""
    for name in installed.files():
        path = installed.root / name
        if path.suffix in (".pc", ".h", ".conf", ".service", ".socket") or "/man/" in name:
            text = path.read_text()
            assert str(BUILD) not in text and str(SOURCE) + "/" not in text, name


@pytest.mark.parametrize("name", ["chat", "copy", "frames", "hello", "one-to-many", "ping-pong",
                                  "poll-loop", "queue", "region", "sensor"])
def test_examples_compile(installed, name):
    """Each example is a single file that compiles without warnings."""
    shutil.copy(SOURCE / "examples" / f"{name}.c", installed.root)
    installed.run("gcc", "-Wall", "-Wextra", "-Werror", "-c", "-o", os.devnull, f"{name}.c",
                  *installed.pkg_config("--cflags"))


def test_cxx_program_links(installed):
    """A C++ program can call the library's functions, because they have C linkage."""
    if is_sanitized(installed.libraries / "libivshmem.so"):
        pytest.skip("a library built with a sanitizer needs programs built with it")
    (installed.root / "open.cc").write_text("""
#include <cstdio>
#include <ivshmem/peer.h>
int main()
{
	ivs_error error;
	ivs_peer *peer;
	int result = ivs_peer_open("nowhere", nullptr, &peer, &error);
	std::puts(error.text);
	return result == IVS_PEER_E_ADDRESS ? 0 : 1;
}
""")
    installed.run("g++", "-Wall", "-Wextra", "-Werror", "-o", "open", "open.cc",
                  *installed.pkg_config("--cflags", "--libs"))
    said = installed.run(installed.root / "open", LD_LIBRARY_PATH=str(installed.libraries))
    assert said.startswith('"nowhere" is not a valid address')


@pytest.mark.parametrize("linked", ["shared", "static"])
def test_installed_program_works(installed, place, linked):
    """The example hello, built with the flags from pkg-config, connects to the installed server
    program."""
    if is_sanitized(installed.libraries / "libivshmem.so"):
        pytest.skip("a library built with a sanitizer needs programs built with it")
    place.server_program = installed.programs / "ivshmem-server"
    place.server()
    hello = installed.build("hello", *(["-static"] if linked == "static" else []))
    environment = {"LD_LIBRARY_PATH": None if linked == "static" else installed.libraries}
    waiting = place.start(hello, f"unix:{place.socket}", environment=environment)
    waiting.out.wait("hello: I am peer 0, waiting")
    telling = place.start(hello, f"unix:{place.socket}", "0", "good morning",
                          environment=environment)
    assert telling.wait() == 0, telling.err.text()
    assert waiting.wait() == 0
    waiting.out.wait("hello: peer 0 was told: good morning")
    needed = installed.run("readelf", "-d", hello)
    assert ("libivshmem.so.0" in needed) == (linked == "shared")
