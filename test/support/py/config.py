# SPDX-License-Identifier: BSD-3-Clause
"""Run `ivshmem config` and `ivshmem looking-glass`, and read the pieces that they print."""
import json
import subprocess

from support.py.paths import BUILD
from support.py.programs import TIMEOUT

TOOL = BUILD / "tools" / "ivshmem"

#: Names with every character that is special in a syntax that the tool writes
NAMES = ["demo", "a,b,,c", 'a "b" \'c', "50% $HOME ${x} `id`", "a;b&c|d<e>f#g", "\\a\\\\b\\",
         "*?[x]{y,z}^!~", "é ü"]


def run(*arguments, **keywords):
    """Run ivshmem. Return: the completed process."""
    return subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True,
                          timeout=TIMEOUT, check=False, **keywords)


def succeed(*arguments, **keywords):
    """Run ivshmem, which must succeed. Return: what it prints."""
    done = run(*arguments, **keywords)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Pieces:
    """The output of a command with --json.

    all: each piece, with "language", "where" and "text"
    """

    def __init__(self, *arguments, **keywords):
        self.json = json.loads(succeed(*arguments, "--json", **keywords))
        self.all = self.json["pieces"]
        self.notes = self.json["notes"]

    def texts(self, language, where=""):
        """Return: the texts of the pieces in this language whose place contains @where."""
        return [piece["text"] for piece in self.all
                if piece["language"] == language and where in piece["where"]]

    def text(self, language, where=""):
        """Return: the text of the only piece of this kind."""
        found = self.texts(language, where)
        assert len(found) == 1, self.all
        return found[0]


def shell_words(text):
    """Return: the words into which a shell splits a command's arguments."""
    done = subprocess.run(["sh", "-c", 'printf "%s\\0" ' + text], capture_output=True, text=True,
                          timeout=TIMEOUT, check=True, env={})
    assert not done.stderr, done.stderr
    return done.stdout.split("\0")[:-1]
