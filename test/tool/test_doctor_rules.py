# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem doctor: each rule is proven by a test, and can be listed and explained."""
import json
import re
import subprocess

import pytest

from support.py.listing import TOOL
from support.py.paths import TEST


def run(*words):
    """Run the doctor. Return: the completed process."""
    return subprocess.run([TOOL, "doctor", *words], capture_output=True, text=True, timeout=60,
                          check=False)


RULES = json.loads(run("--list", "--json").stdout)["rules"]


def text_of(pattern):
    """Return: the text of all tests that the pattern matches."""
    return "".join(path.read_text(encoding="utf-8") for path in sorted(TEST.glob(pattern)))


def test_each_rule_is_proven():
    """Each rule has a test that makes the fault and mends it or, if that is impossible on a test
    machine, a unit test with injected facts. No test proves a rule that does not exist."""
    proven = set(re.findall(r'@proves\("([a-z0-9-]+)"\)', text_of("*/test_doctor*.py")))
    injected = set(re.findall(r'PROVES\("([a-z0-9-]+)"', text_of("unit/doctor/*.c")))
    assert proven == {rule["rule"] for rule in RULES if not rule["injected"]}
    assert injected >= {rule["rule"] for rule in RULES if rule["injected"]}
    assert injected <= {rule["rule"] for rule in RULES}


def test_list():
    """The table has a line for each rule; identifiers are unique."""
    lines = run("--list").stdout.splitlines()
    names = [rule["rule"] for rule in RULES]
    assert [line.split()[0] for line in lines[1:]] == names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["rule"])
def test_explain(rule):
    """A rule says what it finds, why that hurts and how to mend it, in phrases without a full
    stop."""
    text = run("--explain", rule["rule"]).stdout
    assert text.startswith(f"{rule['rule']} ({rule['severity']})\n")
    for part in ("finds", "why", "cure"):
        assert rule[part] in text and rule[part] and not rule[part].endswith(".")
    assert json.loads(run("--explain", rule["rule"], "--json").stdout) == rule


@pytest.mark.parametrize("words, status, message", [
    (["--explain", "region-shape"], 2, 'no rule "region-shape": "ivshmem doctor --list" lists'),
    (["a", "b"], 2, 'surplus argument "b": one name can be given'),
    (["a", "--host"], 2, "one part can be examined at a time: give only one of NAME,"),
    (["ivs-test-absent"], 2, 'no region "ivs-test-absent"'),
])
def test_mistakes(words, status, message):
    """A mistake is reported; the status never means that everything is fine."""
    done = run(*words)
    assert done.returncode == status and message in done.stderr and not done.stdout
