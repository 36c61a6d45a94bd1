# SPDX-License-Identifier: BSD-3-Clause
"""Small throw-away guests for the demo and the tests.

proc       host programs with a guaranteed end, signals, bounded waits
kernel     the distribution's own kernel, downloaded once and kept in the cache directory
cpio       writes a newc archive (no root and no cpio program needed)
initramfs  busybox, static programs and kernel modules behind a small /init
machine    one QEMU guest: start, wait for its console, stop
qmp        QEMU's control socket
meeting    the demo without its printing: a server and three peers that meet
keep       what KEEP=1 leaves behind, and the script that ends it
"""
