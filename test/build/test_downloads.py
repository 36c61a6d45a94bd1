# SPDX-License-Identifier: BSD-3-Clause
"""Test guestkit's downloads from a mirror that is busy or has newer versions. These tests download
nothing."""
import os

import pytest

from guestkit import bootstrap, debs, looking_glass
from guestkit.proc import KitError

#: Replacement for apt-get and mmdebstrap. Each call uses up a line of the file "answers": "good",
#: or the error message with which to fail.
TOOL = """#!/bin/sh
for word; do case $word in update|download) action=$word ;; esac; done
echo "${action:-$0}" | sed 's,.*/,,' >>$WHERE/calls
answer=$(head -n 1 $WHERE/answers)
sed -i 1d $WHERE/answers
n=$(wc -l <$WHERE/calls)
[ "$action" != download ] || : >part-$n.deb
[ "$answer" = good ] && exit
echo "E: $answer" >&2
exit 100
"""


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """Return: a function, answers([...]), that sets the results of the next calls of the
    replacements, and returns a function that lists the calls made so far."""
    for name in ("apt-get", "mmdebstrap"):
        (tmp_path / name).write_text(TOOL)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "into").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("WHERE", str(tmp_path))
    monkeypatch.setattr(debs, "PAUSES", (0, 0, 0))
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def set_them(lines):
        (tmp_path / "answers").write_text("".join(f"{line}\n" for line in lines))
        return lambda: (tmp_path / "calls").read_text().split()

    return set_them


def download(tmp_path):
    debs.download(lambda: ["one", "two"], tmp_path / "into", "something")


@pytest.mark.parametrize(("said", "calls"), [
    (["good"], ["download"]),
    (["503"], ["download"] * 2),
    (["404"] * 2, ["download", "download", "update", "download"]),
    (["503"] * 6, ["download", "download", "update", "update", "update", "update", "update",
                   "download"]),
    (["503", "503", "good", "503", "503"], ["download", "download", "update", "download",
                                            "download",
                                            "download"]),
])
def test_temporary_errors_are_retried(answers, tmp_path, said, calls):
    called = answers(said + ["good"] * 2)
    download(tmp_path)
    assert called() == calls
    assert len(list((tmp_path / "into").iterdir())) == 1, \
        "the files of interrupted downloads must be removed"


def test_permanent_errors_are_not_retried(answers, tmp_path):
    called = answers(["503"] * 99)
    with pytest.raises(KitError, match="503"):
        download(tmp_path)
    assert len(called()) < 12


def test_outdated_lists_of_root(answers, tmp_path, monkeypatch):
    """Only root can update outdated lists; other users see a message that says so."""
    called = answers(["404"] * 99)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(KitError, match="404[^$]*sudo apt-get update"):
        download(tmp_path)
    assert "update" not in called()


@pytest.mark.parametrize("failures", [0, 2, 3])
def test_download_of_a_folder(answers, tmp_path, monkeypatch, failures):
    called = answers(["503"] * failures + ["good"] * 2)
    monkeypatch.setattr(bootstrap, "mirror", lambda: "http://localhost/debian")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if failures > 2:
        with pytest.raises(KitError, match="503"):
            bootstrap.debian(["one"], ["a"], tmp_path / "folder", [])
    else:
        bootstrap.debian(["one"], ["a"], tmp_path / "folder", [])
    assert called() == ["mmdebstrap"] * min(failures + 1, 3)


def test_settings_of_this_machine_are_ignored(tmp_path, monkeypatch):
    """In a new directory, apt uses the same proxies as this machine's apt, and the same limits on
    the age of package lists."""
    (tmp_path / "apt.conf").write_text(f'Dir::Etc::parts "{tmp_path}";\nDir::Etc::main "none";\n'
                                       'Acquire::http::Proxy "http://localhost:1/";\n'
                                       'Acquire::Check-Valid-Until "false";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    assert {'Acquire::http::Proxy "http://localhost:1/";', 'Acquire::Check-Valid-Until "false";'} \
        <= set(bootstrap._settings())


def test_another_release_of_looking_glass(answers, tmp_path, monkeypatch):
    """If Debian has a different release of Looking Glass, mmdebstrap is not run again for each
    test."""
    calls = answers(["Version '0+b7*' for 'looking-glass-client' was not found"] * 3)
    monkeypatch.setattr(bootstrap, "mirror", lambda: "http://localhost/debian")
    monkeypatch.setattr(bootstrap, "_settings", lambda: [])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(2):
        with pytest.raises(looking_glass.Unavailable, match="other than B7"):
            looking_glass.find()
        assert calls() == ["mmdebstrap"] * 3


def test_looking_glass_without_a_mirror(answers, tmp_path, monkeypatch):
    """A mirror that cannot be reached is tried again on the next call."""
    calls = answers(["503"] * 6)
    monkeypatch.setattr(bootstrap, "mirror", lambda: "http://localhost/debian")
    monkeypatch.setattr(bootstrap, "_settings", lambda: [])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for n in (3, 6):
        with pytest.raises(looking_glass.Unavailable, match="E: 503"):
            looking_glass.find()
        assert calls() == ["mmdebstrap"] * n
