# SPDX-License-Identifier: BSD-3-Clause
"""Small disposable guests for the demo and the tests.

proc                 host processes that never outlive their owner; signals; waits with timeouts
cache                files that are downloaded or built once, outside the repository
debs                 downloads and unpacks packages from the distribution
kernel               selects the kernel that guests boot
kernel_image         a kernel with its modules
distribution_kernel  the distribution's kernel, downloaded once
release              a Debian release in a directory: kernel, headers, compiler, tools
debug_kernel         a kernel with runtime checks, built from the distribution's source
bootstrap            a different Debian release in a directory of the cache
driver               builds kernel modules for these kernels: the driver, and those of tests
cpio                 writes a newc archive, without root and without the cpio program
initramfs            busybox, static programs and kernel modules, with a small /init
machine              one QEMU guest: starts it, waits for console output, stops it
vfio_user_qemu       a QEMU with a vfio-user client, even if this machine's own has none
looking_glass        the Looking Glass client, and an X server without a display
qmp                  QEMU's control socket
meeting              the demo without its output: a server and three peers that meet
keep                 the guests that KEEP=1 leaves running, and the script that stops them
"""
