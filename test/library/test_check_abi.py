# SPDX-License-Identifier: BSD-3-Clause
"""scripts/check-abi fails if a change breaks existing programs, and passes otherwise."""
import importlib.machinery
import importlib.util
import shutil
import subprocess

import pytest

from support.py.paths import BUILD, SOURCE

CHECK = SOURCE / "scripts" / "check-abi"

HEADER = """
enum ivs_kind { IVS_KIND_ONE = 1, IVS_KIND_TWO };
struct ivs_options { unsigned int vectors_n; unsigned int timeout_ms; };
struct ivs_thing;
struct ivs_thing *ivs_thing_new(const struct ivs_options *opts);
enum ivs_kind ivs_thing_kind(const struct ivs_thing *thing);
void ivs_thing_free(struct ivs_thing *thing);
"""
CODE = """
#include <stdlib.h>
#include "thing.h"
struct ivs_thing { int a; enum ivs_kind kind; };
struct ivs_thing *ivs_thing_new(const struct ivs_options *opts)
{
	struct ivs_thing *thing = calloc(1, sizeof(*thing));
	thing->a = (int)opts->timeout_ms;
	return thing;
}
enum ivs_kind ivs_thing_kind(const struct ivs_thing *thing) { return thing->kind; }
void ivs_thing_free(struct ivs_thing *thing) { free(thing); }
"""


def make_library(where, name, header=HEADER, code=CODE, options=("-g",), soname="libthing.so.0"):
    """Build a library with one header. Return: the paths of the library and of its headers."""
    headers = where / name
    headers.mkdir()
    (headers / "thing.h").write_text(header)
    library = headers / "libthing.so"
    subprocess.run(["gcc", "-shared", "-fPIC", *options, f"-Wl,-soname,{soname}", "-I", headers,
                    "-o", library, "-x", "c", "-"], input=code, text=True, check=True)
    return library, headers


def check(old, new):
    """Compare two libraries. Return: the exit status and the output of check-abi."""
    done = subprocess.run([str(word) for word in (CHECK, "--old", *old, "--new", *new)],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


BREAKS = {
    "function removed": ("void ivs_thing_free(struct ivs_thing *thing);", "", "ivs_thing_free"),
    "function renamed": ("ivs_thing_free", "ivs_thing_drop", "ivs_thing_free"),
    "field moved": ("unsigned int vectors_n; unsigned int timeout_ms;",
                    "unsigned int timeout_ms; unsigned int vectors_n;", "offset changed"),
    "field added": ("unsigned int timeout_ms;", "unsigned int timeout_ms; long more;",
                    "type size changed"),
    "field widened": ("unsigned int timeout_ms", "unsigned long timeout_ms", "type size changed"),
    "argument added": ("ivs_thing_kind(const struct ivs_thing *thing",
                       "ivs_thing_kind(const struct ivs_thing *thing, int which", "parameter 2"),
    "result changed": ("enum ivs_kind ivs_thing_kind", "long ivs_thing_kind",
                       "return type changed"),
    "enumerator changed": ("IVS_KIND_ONE = 1", "IVS_KIND_ONE = 5", "IVS_KIND_ONE"),
    "enumerator before others": ("IVS_KIND_TWO", "IVS_KIND_NEW, IVS_KIND_TWO", "IVS_KIND_TWO"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_break_is_reported(tmp_path, what):
    """check-abi exits with status 8 and reports the function or type that has changed."""
    before, after, message = BREAKS[what]
    code = CODE.replace(before, after)
    if what == "function removed":
        code = CODE.replace("void ivs_thing_free",
                            "static __attribute__((used)) void ivs_thing_free")
    status, text = check(make_library(tmp_path, "old"),
                         make_library(tmp_path, "new", HEADER.replace(before, after), code))
    assert status == 8, text
    assert "\nnot ok 1 - abi: programs built with the old library no longer work" in text
    assert message in text


KEEPS = {
    "nothing": ("", ""),
    "function added": ("void ivs_thing_free(struct ivs_thing *thing)",
                       "void ivs_thing_more(void){0}\n"
                       "void ivs_thing_free(struct ivs_thing *thing)"),
    "enumerator at the end": ("IVS_KIND_TWO", "IVS_KIND_TWO, IVS_KIND_THREE"),
    "private field": ("int a; enum", "long more; int a; enum"),
}


@pytest.mark.parametrize("what", KEEPS)
def test_addition_is_compatible(tmp_path, what):
    """check-abi exits with status 0."""
    before, after = KEEPS[what]
    header = HEADER.replace(before, after.replace("{0}", ";")) if before else HEADER
    code = CODE.replace(before, after.replace("{0}", " {}")) if before else CODE
    status, text = check(make_library(tmp_path, "old"), make_library(tmp_path, "new", header, code))
    assert status == 0, text
    assert "\nok 1 - abi: programs built with the old library keep working" in text
    if what == "function added":
        assert "ivs_thing_more" in text


def test_other_soname_is_not_compared(tmp_path):
    """A different soname keeps old programs from loading the library, so everything may change."""
    before, after, _ = BREAKS["field moved"]
    status, text = check(make_library(tmp_path, "old"), make_library(
        tmp_path, "new", HEADER.replace(before, after), soname="libthing.so.1"))
    assert status == 0
    assert "libthing.so.1 replaces libthing.so.0" in text


def test_missing_debug_information_is_a_skip(tmp_path):
    """Without debug information nothing can be compared, so the check is skipped with that
    reason."""
    status, text = check(make_library(tmp_path, "old"),
                         make_library(tmp_path, "new", options=()))
    assert status == 0
    assert "# SKIP" in text and "has no debug information" in text


def test_unreadable_library_is_a_failure(tmp_path):
    """A library that cannot be read fails the check."""
    status, text = check(make_library(tmp_path, "old"), (tmp_path / "absent", tmp_path))
    assert status == 1
    assert "not ok 1 - abi: cannot compare" in text


def test_missing_baseline_is_a_skip(tmp_path):
    """Outside a git repository, and in a clone without the baseline's commit, the check is skipped
    with that reason."""
    for name in ("scripts/check-abi", "src/libivshmem.baseline"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(SOURCE / name, tmp_path / name)
    commit = (tmp_path / "src" / "libivshmem.baseline").read_text().splitlines()[-1]
    for message in ("not a git repository", f"commit {commit} is not in this clone"):
        done = subprocess.run([tmp_path / "scripts" / "check-abi", BUILD], capture_output=True,
                              text=True, timeout=60, check=False)
        assert done.returncode == 0
        assert "\nok 1 - abi # SKIP " in done.stdout and message in done.stdout
        subprocess.run(["git", "-C", tmp_path, "init", "-q"], check=True)


def test_breaks_of_our_library_are_reported(tmp_path):
    """If a function is removed and two fields are swapped, the output names both changes."""
    shutil.copytree(SOURCE, tmp_path / "source", symlinks=True, ignore=shutil.ignore_patterns(
        ".git", "build*", "test", "__pycache__"))
    for name, before, after in (
            ("include/ivshmem/peer.h", "unsigned int peers_n;\n\tunsigned int listed_n;",
             "unsigned int listed_n;\n\tunsigned int peers_n;"),
            ("src/libivshmem.map", "\tivs_region_path;\n", "")):
        path = tmp_path / "source" / name
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))
    loader = importlib.machinery.SourceFileLoader("check_abi", str(CHECK))
    spec = importlib.util.spec_from_loader("check_abi", loader)
    check_abi = importlib.util.module_from_spec(spec)
    loader.exec_module(check_abi)
    new = check_abi.build_library(tmp_path / "source", tmp_path / "build")
    status, text = check((BUILD / "src" / "libivshmem.so", SOURCE / "include" / "ivshmem"),
                         (new, tmp_path / "source" / "include" / "ivshmem"))
    assert status == 8, text
    for message in ("ivs_region_path", "'unsigned int peers_n' offset changed"):
        assert message in text
