# SPDX-License-Identifier: BSD-3-Clause
"""Complaints that are expected, each with its reason, and checks that do not fail."""

#: (check, part of the complaint, reason). An entry that matches nothing is a complaint.
KNOWN = (
    ("limits", "IVS_VFU_FEATURE_INDEX is 0xffffu", "bits of a word, not a number of ids"),
)

#: Checks whose complaints are counted and do not fail. `check-layers.py --only CHECK` lists them.
COUNTED = ()


def without_known(found, exceptions):
    """@found ({check: complaints}) without @exceptions, plus a complaint for each unused one."""
    left = {check: list(lines) for check, lines in found.items()}
    for check, part, _reason in exceptions:
        kept = [line for line in left[check] if part not in line]
        if len(kept) == len(left[check]):
            kept.append(f'scripts/check_layers/known.py: KNOWN expects "{part}" from the check '
                        f'"{check}", which no longer occurs: remove the entry')
        left[check] = kept
    return left
