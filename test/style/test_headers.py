# SPDX-License-Identifier: BSD-3-Clause
"""Test that the public headers, and programs that use them, compile in C and C++."""
import shutil
import subprocess

import pytest

from support.py.paths import BUILD, SOURCE

HEADERS = sorted(path.name for path in (SOURCE / "include" / "ivshmem").glob("*.h"))
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
LANGUAGES = {"c11": "c", "c17": "c", "gnu17": "c", "c++11": "c++", "c++17": "c++"}
COMPILERS = {("gcc", "c"): "gcc", ("gcc", "c++"): "g++",
             ("clang", "c"): "clang", ("clang", "c++"): "clang++"}


def compile_text(text, kind, standard, *options):
    """Compile @text. Return: the compiler's messages, or "" on success."""
    language = LANGUAGES[standard]
    program = COMPILERS[kind, language]
    assert shutil.which(program), f"{program} is missing: scripts/install-packages test"
    done = subprocess.run([program, f"-std={standard}", *WARNINGS, "-I", SOURCE / "include",
                           "-x", language, "-", *(options or ["-fsyntax-only"])],
                          input=text, capture_output=True, text=True, timeout=60, check=False)
    assert bool(done.returncode) == bool(done.stderr), done.stderr
    return done.stderr


@pytest.mark.parametrize("standard", LANGUAGES)
@pytest.mark.parametrize("kind", ["gcc", "clang"])
@pytest.mark.parametrize("header", HEADERS)
def test_header_compiles_alone(header, kind, standard):
    """Each header can be included first, can be included twice, and causes no warnings."""
    text = f"#include <ivshmem/{header}>\n" * 2 + "extern int something;\n"
    assert compile_text(text, kind, standard) == ""


@pytest.mark.parametrize("standard", LANGUAGES)
@pytest.mark.parametrize("kind", ["gcc", "clang"])
def test_headers_compile_together(kind, standard):
    """All headers compile together in one file, in alphabetical and in reverse order."""
    for order in (HEADERS, HEADERS[::-1]):
        assert compile_text("".join(f"#include <ivshmem/{name}>\n" for name in order), kind,
                            standard) == ""


def test_missing_include_is_found():
    """compile_text() itself works: it reports a header in which an include is missing."""
    assert "size_t" in compile_text("size_t ivs_broken(void);\n", "gcc", "c11")


@pytest.mark.parametrize("kind", ["gcc", "clang"])
@pytest.mark.parametrize("standard", ["c11", "c++11"])
def test_typical_use_compiles(kind, standard):
    """A program that initialises options and makes typical calls compiles in C and in C++."""
    assert compile_text("""
#include <ivshmem/peer.h>
#include <ivshmem/region.h>
#include <ivshmem/registers.h>
int use(struct ivs_peer *peer);
int use(struct ivs_peer *peer)
{
	struct ivs_region_options opts = IVS_REGION_OPTIONS_INIT;
	struct ivs_doorbell *doorbell = NULL;
	struct ivs_event event;
	int result = ivs_doorbell_new(peer, 1, 2, &doorbell);

	if (!result)
		result = ivs_doorbell_ring(doorbell);
	ivs_doorbell_free(doorbell);
	return result + ivs_peer_next(peer, 0, &event) + (int)opts.size + (int)IVS_DOORBELL(1, 2);
}
""", kind, standard) == ""


def test_program_of_the_manual_compiles(tmp_path):
    """The program in libivshmem(3) compiles and links, and prints its usage."""
    text = (SOURCE / "man" / "libivshmem.3.scd").read_text()
    code = text.split("# EXAMPLE")[1].split("```")[1].replace("\\\\", "\\")
    program, libraries = tmp_path / "program", BUILD / "src"
    assert compile_text(code, "gcc", "gnu17", "-o", program, "-L", libraries, "-livshmem",
                        f"-Wl,-rpath,{libraries}") == ""
    done = subprocess.run([program], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (2, f"program: usage: {program} ADDRESS [WORD]\n")
