# SPDX-License-Identifier: BSD-3-Clause
"""Files that are downloaded or built once, in ${XDG_CACHE_HOME:-~/.cache}/ivshmem/.

Entries are renamed into place, so each is complete or missing. Removed entries are created again.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil

from .proc import KitError, wait_until


def directory(*names):
    """Return: the path of the cache directory, or of a subdirectory. The directory is not created.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base, "ivshmem", *names)


@contextlib.contextmanager
def locked(where, what, timeout=900):
    """Lock directory @where while an entry is created in it. A process that has waited for the lock
    finds a complete entry. If a process dies, the kernel releases its lock, so the next holder may
    remove the directory that the dead process had created with new()."""
    try:
        pathlib.Path(where).mkdir(parents=True, exist_ok=True)
        lock = open(pathlib.Path(where, ".lock"), "w")
    except OSError as e:
        raise KitError(f"cannot use the cache directory {where}: {e.strerror}; set XDG_CACHE_HOME "
                       "to a writable directory") from e

    def taken():
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False

    with lock:
        if not taken():
            print(f"waiting for another process, which is creating {what} ...", flush=True)
            if not wait_until(taken, timeout):
                raise KitError(f"another process has held {where}/.lock for {timeout // 60} min")
        for left_over in pathlib.Path(where).glob(".new-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        yield


@contextlib.contextmanager
def new(where):
    """Create a temporary directory next to the entries. The holder of the lock renames finished
    entries out of it."""
    path = pathlib.Path(where, f".new-{os.getpid()}")
    try:
        path.mkdir()
        yield path
    except OSError as e:
        raise KitError(f"cannot write to the cache directory {where}: {e}") from e
    finally:
        shutil.rmtree(path, ignore_errors=True)
