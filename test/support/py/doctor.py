# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of ivshmem doctor share: a rule is proven with a fault that the test makes, which
the rule and no other finds, and with the cure, after which nothing is found."""
import json
import os
import shutil
import subprocess

import pytest

from support.py.listing import TOOL

#: Exit status by the severity of the worst finding
STATUS = {"note": 0, "warning": 1, "error": 2}

#: Runs in a mount namespace: examines, runs the command of the only finding, and examines again.
#: $0: the tool, $1: a directory, $2...: arguments of the doctor
APART = """
PATH=$1:$PATH before=$1/before.json after=$1/after.json
shift
$0 doctor --json "$@" > "$before" || [ $? -le 2 ]
sh -ec "$(python3 -c '
import json, sys
print(json.load(open(sys.argv[1]))["findings"][0]["command"])' "$before")"
$0 doctor --json "$@" > "$after" || [ $? -le 2 ]
"""


def proves(rule):
    """Mark a test that proves a rule; test_doctor_rules.py checks that there is one for each."""
    return pytest.mark.proves(rule)


class Report:
    """A reply of ivshmem doctor --json: findings, and the exit status that belongs to them."""

    def __init__(self, text, status=None):
        self.whole = json.loads(text)
        self.findings = self.whole["findings"]
        self.rules = [finding["rule"] for finding in self.findings]
        if status is not None:
            assert status == max((STATUS[finding["severity"]] for finding in self.findings),
                                 default=0), (status, self.findings)

    def one(self, rule):
        """Return: the only finding, which is of this rule."""
        assert self.rules == [rule], self.findings
        return self.findings[0]


def examine(*words, **options):
    """Run the doctor. Return: the Report."""
    done = subprocess.run([TOOL, "doctor", "--json", *words], capture_output=True, text=True,
                          timeout=60, check=False, **options)
    assert done.stdout, done.stderr
    return Report(done.stdout, done.returncode)


def run_command(finding):
    """Run the command of a finding as a user would."""
    assert finding["command"], finding
    environment = {**os.environ, "PATH": f"{TOOL.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-ec", finding["command"]], capture_output=True, text=True,
                          timeout=60, check=False, env=environment)
    assert done.returncode == 0, (finding["command"], done.stderr)


def prove(rule, *words, cure=None, **options):
    """Examine, mend and examine again. @cure mends the fault if that takes more than a command; it
    gets the finding. Return: the finding."""
    finding = examine(*words, **options).one(rule)
    assert finding["command"] or finding["advice"]
    if cure:
        cure(finding)
    else:
        run_command(finding)
    after = examine(*words, **options)
    assert not after.findings, after.findings
    return finding


def prove_apart(place, rule, script, *words):
    """Like prove(), in a mount namespace of its own, after the script. The script may use
    $1, a directory. Return: the finding."""
    shutil.copy(TOOL, place.dir)
    done = place.run("unshare", "-m", "sh", "-ec", script + APART, place.dir / "ivshmem",
                     place.dir, *words)
    assert (place.dir / "after.json").exists(), done.stderr
    finding = Report((place.dir / "before.json").read_text()).one(rule)
    after = Report((place.dir / "after.json").read_text())
    assert not after.findings, (finding, after.findings, done.stderr)
    return finding
