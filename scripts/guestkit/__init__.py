# SPDX-License-Identifier: BSD-3-Clause
"""Small throw-away guests for the demo and the tests.

proc       host programs with a guaranteed end, signals, bounded waits
cache      what is downloaded or built once, outside the repository
debs       the distribution's packages as files
kernel     the distribution's own kernel, downloaded once and kept in the cache directory
bootstrap  Debian of another release in a folder of the cache directory
stable     Debian's current release in a folder: its kernel, headers, compiler, tools
debug_kernel  a kernel that watches itself, built from the distribution's source
driver     kernel modules for these kernels: ours and those of tests
cpio       writes a newc archive (no root and no cpio program needed)
initramfs  busybox, static programs and kernel modules behind a small /init
machine    one QEMU guest: start, wait for its console, stop
vfio_user_qemu  a QEMU that is a vfio-user client, whatever this machine's own can do
qmp        QEMU's control socket
meeting    the demo without its printing: a server and three peers that meet
keep       what KEEP=1 leaves behind, and the script that ends it
"""
