# SPDX-License-Identifier: BSD-3-Clause
"""Expected complaints, with their reasons, and the checks whose complaints are only counted."""

#: (check, part of the complaint, reason). An entry that matches no complaint is itself a complaint.
KNOWN = (
    ("limits", "IVS_VFU_FEATURE_INDEX is 0xffffu", "bits of a word, not a number of ids"),
)

#: Checks whose complaints are counted, but are not failures. `check-layers.py --only CHECK` lists
#: the complaints.
COUNTED = ()


def without_known(found, exceptions):
    """Return: @found ({check: complaints}) without the complaints that an entry of @exceptions
    matches, and with a complaint for each entry that matches nothing."""
    left = {check: list(lines) for check, lines in found.items()}
    for check, part, _reason in exceptions:
        kept = [line for line in left[check] if part not in line]
        if len(kept) == len(left[check]):
            kept.append(f'scripts/check_layers/known.py: KNOWN expects "{part}" from the check '
                        f'"{check}", but it no longer occurs: remove the entry')
        left[check] = kept
    return left
