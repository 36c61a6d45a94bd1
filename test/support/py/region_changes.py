# SPDX-License-Identifier: BSD-3-Clause
"""Changes to a region's file, and what the programs say about them."""
SIZE = 1 << 20
NAME_LOST = "its name was removed, renamed or replaced: programs that open the name now get another"
SHRUNK = "it was shrunk: accesses beyond its new end raise SIGBUS"
GROWN = "it was enlarged: programs that open it now see a different size"


def make_again(path):
    """Remove a region and create a new one with the same name."""
    path.unlink()
    path.write_bytes(bytes(SIZE))


def replace(path):
    """Replace a region by renaming another region to its name."""
    other = path.with_name(path.name + "-other")
    other.write_bytes(bytes(SIZE))
    other.rename(path)


def rename(path):
    """Rename a region."""
    path.rename(path.with_name(path.name + "-other"))
