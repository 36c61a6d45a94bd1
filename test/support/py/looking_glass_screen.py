# SPDX-License-Identifier: BSD-3-Clause
"""The real Looking Glass client, on a virtual screen that is stored in a file. If the client cannot
be run, importing this module skips the test file that imports it, and states the reason once."""
import itertools
import os
import struct

import pytest

from guestkit import looking_glass
from support.py.paths import TEST
from support.py.programs import wait_until

if os.geteuid() != 0:
    pytest.skip("needs root for chroot(2) and to switch to another user", allow_module_level=True)
try:
    ROOT = looking_glass.find()
except looking_glass.Unavailable as why:
    pytest.skip(str(why), allow_module_level=True)

USER = 65534
#: Timeout in seconds for the client, which draws without a graphics card, on a heavily loaded
#: machine
PATIENCE = 60
SOFTWARE = {"LIBGL_ALWAYS_SOFTWARE": "1", "LP_NUM_THREADS": "1"}


class Screen:
    """An X server, and clients that show a region on its screen."""

    def __init__(self, place, width, height):
        self.place = place
        self.size = (width, height)
        self.tmp = place.dir / "tmp"
        place.dir.chmod(0o755)
        for path, mode in ((self.tmp, 0o777), (self.tmp / ".X11-unix", 0o1777)):
            path.mkdir()
            path.chmod(mode)
        server = self._start({}, "/usr/bin/Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen",
                             "0", f"{width}x{height}x24", "+extension", "GLX", "-fbdir", "/tmp")
        wait_until(lambda: server.out.seen, "the number of the display", PATIENCE)
        self.display = f":{server.out.seen[0]}"

    def _start(self, environment, *words):
        given = [f"{name}={value}" for name, value in environment.items()]
        return self.place.start("/usr/bin/python3", TEST / "support" / "py" / "in_root.py", ROOT,
                                self.tmp, USER, *given, *words)

    def client(self, path, renderer="egl"):
        """Start a client, as the user nobody."""
        width, height = self.size
        return self._start({"DISPLAY": self.display, **SOFTWARE}, "/usr/bin/looking-glass-client",
                           "-s", "-f", path, f"app:renderer={renderer}",
                           f"win:size={width}x{height}")

    def rows(self, step=16):
        """Return: the colours, 0xRRGGBB, of every row whose number is a multiple of @step."""
        data = (self.tmp / "Xvfb_screen0").read_bytes()  # the file has the format of xwd(1)
        header = struct.unpack_from(">25I", data)
        width, height, bits, line_len, colours_n = (header[i] for i in (4, 5, 11, 12, 19))
        assert (width, height, bits, line_len) == (*self.size, 32, 4 * width)
        begin = header[0] + 12 * colours_n
        return [[pixel & 0xffffff for pixel in struct.unpack_from(f"<{width}I", data, begin + at)]
                for at in range(0, height * line_len, step * line_len)]

    def shows(self, colours):
        """Return: whether a row of the screen has these colours side by side, and no other ones."""
        return any([colour for colour, _ in itertools.groupby(row)] == list(colours)
                   for row in self.rows())

    def wait_for(self, colours):
        """Wait until the screen shows these colours."""
        wait_until(lambda: self.shows(colours), "the colours on the screen", PATIENCE)

    def wait_for_end(self, colours):
        """Wait until the screen no longer shows these colours."""
        wait_until(lambda: not self.shows(colours), "the end of the colours", PATIENCE)

    def wait_for_motion(self, colour):
        """Wait until this colour has moved to another place in the upper half of the screen."""
        def places():
            rows = self.rows(8)
            return [[x for x, pixel in enumerate(row) if pixel == colour]
                    for row in rows[:len(rows) // 2]]

        before = places()
        wait_until(lambda: places() != before, "motion on the screen", PATIENCE)
