# SPDX-License-Identifier: BSD-3-Clause
"""The kernel that guests boot, selected by the environment:

IVSHMEM_GUEST_KERNEL   default: the distribution's kernel (distribution_kernel.py);
                       oldest, stable, newest: the kernel of a Debian release (release.py);
                       debug: a kernel with runtime checks (debug_kernel.py)
IVSHMEM_KERNEL         path of a kernel image to use instead
IVSHMEM_MODULES        its modules: a directory like /lib/modules/VERSION, with a modules.dep
"""

import functools
import os

from . import debug_kernel, distribution_kernel, release
from .kernel_image import Kernel
from .proc import KitError

_KERNELS = {"debug": debug_kernel.find, "default": distribution_kernel.find,
            **{name: functools.partial(release.find, name) for name in release.RELEASES}}


def find():
    """Return: the kernel for guests, a kernel_image.Kernel, downloaded or built if necessary."""
    choice = os.environ.get("IVSHMEM_GUEST_KERNEL")
    if choice:
        return _named(choice)
    image = os.environ.get("IVSHMEM_KERNEL")
    if image:
        return _given(image, os.environ.get("IVSHMEM_MODULES"))
    return distribution_kernel.find()


def _named(name):
    if name not in _KERNELS:
        raise KitError(f"IVSHMEM_GUEST_KERNEL={name} is unknown; use {', '.join(sorted(_KERNELS))}")
    return _KERNELS[name]()


def _given(image, modules):
    for path in filter(None, (image, modules)):
        if not os.access(path, os.R_OK):
            raise KitError(f"cannot read {path}; check IVSHMEM_KERNEL and IVSHMEM_MODULES")
    return Kernel(os.path.basename(os.path.normpath(modules)) if modules else "given",
                  image, modules)
