#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Print the source of ivshmem-doctor(7), made from the table of rules:  doctor-man.py IVSHMEM"""
import json
import subprocess
import sys

HEAD = """ivshmem-doctor(7)

; SPDX-License-Identifier: BSD-3-Clause

# NAME

ivshmem-doctor - the rules of ivshmem doctor: what goes wrong, why it hurts, how to mend it

# DESCRIPTION

*ivshmem doctor* applies these rules to what it finds on a host or in a guest. An _error_ is
something that does not work; a _warning_ is something that works now, but fails or hurts under
foreseeable conditions; a _note_ is worth knowing. For a finding, *ivshmem doctor* prints the
command for its case.

This page is made from the program's table. *ivshmem doctor --explain* _RULE_ prints the same text.

# RULES
"""

TAIL = """
# SEE ALSO

*ivshmem-doctor*(1), *ivshmem-list*(1), *ivshmem-qemu*(7)
"""


def escaped(text):
    """Return: the text without scdoc's markup."""
    return "".join("\\" + c if c in "\\*_#`[]<>" else c for c in text)


def sentence(text):
    """Return: the phrase as a sentence."""
    return text[0].upper() + escaped(text[1:]) + "."


def section(rule):
    """Return: the text about a rule."""
    cure = "Cure: " + escaped(rule["cure"]) + "."
    return f"""
*{rule["rule"]}* (_{rule["severity"]}_)
	{sentence(rule["finds"])} {sentence(rule["why"])} {cure}
"""


def main():
    done = subprocess.run([sys.argv[1], "doctor", "--list", "--json"], stdout=subprocess.PIPE,
                          check=True)
    print(HEAD + "".join(map(section, json.loads(done.stdout)["rules"])) + TAIL, end="")


if __name__ == "__main__":
    main()
