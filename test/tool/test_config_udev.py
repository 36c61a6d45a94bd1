# SPDX-License-Identifier: BSD-3-Clause
"""udev itself accepts the rules that `ivshmem config udev` prints."""
import pytest

from guestkit import release
from support.py.config import NAMES, Pieces
from support.py.udev_rules import verify

try:
    FOLDER = release.folder("stable")
except release.Unavailable as why:  # one skip instead of one per test
    pytest.skip(str(why), allow_module_level=True)

#: Owners, groups and modes, as options
ACCESS = [[], ["--owner", "operator", "--group", "video", "--mode", "0600"],
          ["--owner", "0", "--group", "44", "--mode", "0640"]]
#: Devices, as arguments. A name that a guest cannot see is not in the rule.
DEVICES = [[name] for name in NAMES] + [
    [name, "--kind", "vfio-user", "--socket", "/run/vmm.sock"]
    for name in (*NAMES, "a-b", "a.b_c", "x" * 16)] + [
    ["file:/dev/kvmfr0"], ["file:/dev/kvmfr12"], ["unix:/run/a b.sock"]]


def printed():
    """The printed rules, for all combinations: {file name: rule}."""
    files = {}
    for device in DEVICES:
        for access in ACCESS:
            files[f"70-{len(files)}"] = Pieces("config", "udev", *access, *device).text("udev")
    return files


def test_udev_accepts_printed_rules(tmp_path):
    """udevadm accepts every rule, and has no complaints about its style."""
    files = printed()
    wrong, said = verify(FOLDER, files, tmp_path)
    assert not wrong, said
    assert sum("ATTR{name}" in rule for rule in files.values()) >= 4 * len(ACCESS)


@pytest.mark.parametrize("printed_text, wrong_text", [
    ('MODE="0660"', 'MODE="0660'), ('MODE="0660"', 'MODE=="0660"'), ("GROUP=", "GRUOP="),
    ('"demo"', '"de"mo"'), ("ATTR{name}", "ATTR{}"), ('"kvm"', '"no-such-group"'),
    (", GROUP", ",GROUP")])
def test_udev_rejects_wrong_rules(tmp_path, printed_text, wrong_text):
    """A mistake in a rule makes the test above fail."""
    rule = Pieces("config", "udev", "demo", "--kind", "vfio-user", "--group", "kvm").text("udev")
    assert printed_text in rule
    wrong, said = verify(FOLDER, {"right": rule, "wrong": rule.replace(printed_text, wrong_text)},
                         tmp_path)
    assert wrong == {"wrong"}, said
