# SPDX-License-Identifier: BSD-3-Clause
"""Tests of the options that all programs have. @program is the name of a program in tools/."""
import re


def run(place, program, option):
    """Run the program with this option alone."""
    return place.run(place.build / "tools" / program, option)


def options_of_help(text):
    """Return: the left column of the help, with lines such as "-S, --socket PATH"."""
    lines = text[:text.index("\nExample")].splitlines()
    return [re.split(" {2,}", line.strip())[0] for line in lines if re.match(" +-", line)]


def options_of_page(text):
    """Return: the options in the man page, without its markup."""
    section = text[text.index("\n# OPTIONS\n"):]
    section = section[:section.index("\n# ", 1)]
    return [re.sub("[*_]", "", line) for line in section.splitlines() if line.startswith("*-")]


def check_help(place, program, option):
    """The help contains the usage, the common options and an example, and the exit status is 0."""
    done = run(place, program, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {program} ")
    assert "\nExample" in done.stdout
    assert f"\n  {program} -" in done.stdout[done.stdout.index("\nExample"):]
    for line in ["-S, --socket", "-v, --verbose", "-V, --version", "-h, --help"]:
        assert f"\n  {line} " in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


def check_help_and_man_page(place, program):
    """The help and the man page list the same options, with the same arguments, in the same
    order."""
    page = (place.source / "man" / f"{program}.1.scd").read_text(encoding="utf-8")
    helped = options_of_help(run(place, program, "--help").stdout)
    assert len(helped) > 5
    assert helped == options_of_page(page)


def check_version(place, program, option):
    """--version prints one line with the program's name and a version."""
    done = run(place, program, option)
    name, version = done.stdout.split()
    assert (done.returncode, done.stderr, name) == (0, "", program)
    assert version[0].isdigit() and "." in version


def check_refused(place, program, option):
    """An invalid option causes status 2, a message that names it, and a pointer to --help."""
    done = run(place, program, option)
    assert (done.returncode, done.stdout) == (2, "")
    assert option.strip("-").split("=")[0] in done.stderr
    assert f'Try "{program} --help".' in done.stderr
