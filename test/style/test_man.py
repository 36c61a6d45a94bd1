# SPDX-License-Identifier: BSD-3-Clause
"""Test that the manual pages cover the whole public API, and cause no warnings from groff."""
import os
import re
import subprocess

import pytest

from support.py.paths import BUILD, SOURCE

PAGES = sorted(path.name[:-len(".scd")] for path in (SOURCE / "man").glob("*.scd")) + [
    "ivshmem-protocol.7", "ivshmem-migration.7", "ivshmem-coming-from.7",
    "ivshmem-doctor.7"]
FUNCTIONS = re.findall(r"^\t(ivs_\w+);", (SOURCE / "src" / "libivshmem.map").read_text(), re.M)
ALIAS = re.compile(r"\.so man3/(\w+\.3)\n")

#: Header -> pattern of the constants that it defines for programs
CONSTANTS = {
    "peer.h": r"\bIVS_(?:PEER_E|CAP|EVENT)_\w+\b",
    "channel.h": r"\bIVS_CHANNEL_(?:E_\w+|NAME_MAX|MESSAGE_MAX|SECTION_OF_ID)\b",
    "region.h": r"\bIVS_REGION_(?:E_\w+|KEEP_ID|OPTIONS_INIT)\b",
    "driver.h": r"\bIVS_(?:IOC|INFO|MEMORY)_\w+\b|\bIVS_MMAP_(?!SHIFT)\w+\b|\bIVS_DRIVER_VERSION\b",
}


def run(*words, stdin=None):
    """Run a command, which must succeed. Return: its standard output and standard error."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"}
    done = subprocess.run([str(word) for word in words], env=environment, check=False,
                          stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=20)
    assert done.returncode == 0, done.stdout
    return done.stdout


def page_of(function):
    """Return: the page that "man FUNCTION" shows."""
    text = (BUILD / "man" / f"{function}.3").read_text()
    alias = ALIAS.match(text)
    return (BUILD / "man" / alias[1]).read_text() if alias else text


@pytest.mark.parametrize("page", PAGES)
def test_no_warnings(page):
    """Neither groff (with tbl, for tables) nor man prints a warning about a page."""
    assert run("groff", "-t", "-man", "-ww", "-z", BUILD / "man" / page) == ""
    with open(os.devnull, "w") as nothing:
        done = subprocess.run(["man", "--warnings", "-l", BUILD / "man" / page], check=False,
                              env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "t",
                                   "MANWIDTH": "80"},
                              stdout=nothing, stderr=subprocess.PIPE, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES)
def test_sections(page):
    """Each page has the required sections, and the library's pages that it refers to exist."""
    text = (BUILD / "man" / page).read_text()
    for section in ("NAME", "DESCRIPTION", "SEE ALSO"):
        assert f".SH {section}" in text, section
    for name, number in re.findall(r"\\fB((?:ivs|libivs)[\w-]+)\\fR\((\d)\)", text):
        assert (BUILD / "man" / f"{name}.{number}").exists(), f"{name}({number})"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function_has_a_page(function):
    """"man FUNCTION" shows a page that has the function's name and declaration, and the required
    sections."""
    text = page_of(function)
    name = text.split(".SH NAME")[1].split(".SH ")[0]
    assert re.search(rf"\b{function}\b", name)
    assert re.search(rf"[ *]{function}\(", text.split(".SH SYNOPSIS")[1])
    for section in ("RETURN VALUE", "ERRORS", "THREAD SAFETY", "EXAMPLE"):
        assert f".SH {section}" in text, section


@pytest.mark.parametrize("header", CONSTANTS)
def test_constants_are_explained(header):
    """Every constant that programs use is mentioned in a page."""
    code = (SOURCE / "include" / "ivshmem" / header).read_text()
    code = re.sub(r"/\*.*?\*/", "", code, flags=re.S)
    text = "".join((SOURCE / "man" / f"{page}.scd").read_text() for page in PAGES
                   if page.endswith((".3", ".4")))
    wanted = set(re.findall(CONSTANTS[header], code))
    assert wanted
    missing = sorted(name for name in wanted if not re.search(rf"\b{name}\b", text))
    assert not missing


def test_declarations_are_those_of_the_headers():
    """Each declaration in a SYNOPSIS is the same as in the header, except for attributes."""
    def squeeze(text):
        text = re.sub(r"\b(IVS_PUBLIC|IVS_MUST_USE)\b", "", text)
        return re.sub(r"\s+", "", text)

    headers = squeeze("".join((SOURCE / "include" / "ivshmem" / name).read_text()
                              for name in ("channel.h", "peer.h", "region.h")))
    checked = 0
    for page in PAGES:
        if not page.startswith("ivs_"):
            continue
        synopsis = (SOURCE / "man" / f"{page}.scd").read_text().split("```")[1]
        for declaration in re.findall(r"^[a-z][^;{}]*?\bivs_\w+\([^;]*;", synopsis, re.M):
            assert squeeze(declaration) in headers, declaration
            checked += 1
    assert checked >= len(FUNCTIONS)
