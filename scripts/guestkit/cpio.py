# SPDX-License-Identifier: BSD-3-Clause
"""Write a cpio archive in the newc format, which the kernel unpacks as an initramfs.

cpio(1) would need a staging directory, and root to create the device node in it.
"""

import stat


class Archive:
    def __init__(self):
        self._parts = []
        self._names = set()
        self._inode = 0

    def directory(self, name):
        """Add a directory and its parents."""
        name = name.strip("/")
        if not name or name in self._names:
            return
        self.directory(name.rpartition("/")[0])
        self._add(name, stat.S_IFDIR | 0o755)

    def file(self, name, data, mode=0o644):
        self._in_directory(name, stat.S_IFREG | mode, data)

    def symlink(self, name, target):
        self._in_directory(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name, major, minor, mode=0o600):
        self._in_directory(name, stat.S_IFCHR | mode, b"", (major, minor))

    def bytes(self):
        """Return: the whole archive."""
        return b"".join(self._parts) + _entry(0, "TRAILER!!!", 0, b"", (0, 0))

    def __contains__(self, name):
        return name.strip("/") in self._names

    def _in_directory(self, name, mode, data, device=(0, 0)):
        name = name.strip("/")
        self.directory(name.rpartition("/")[0])
        self._add(name, mode, data, device)

    def _add(self, name, mode, data=b"", device=(0, 0)):
        if name in self._names:
            raise ValueError(f"{name} is already in the archive")
        self._names.add(name)
        self._inode += 1
        self._parts.append(_entry(self._inode, name, mode, data, device))


def _entry(inode, name, mode, data, device):
    encoded = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1], len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return _padded(head) + _padded(data)


def _padded(data):
    return data + b"\0" * (-len(data) % 4)
