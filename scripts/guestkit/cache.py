# SPDX-License-Identifier: BSD-3-Clause
"""What is downloaded or built once: ${XDG_CACHE_HOME:-~/.cache}/ivshmem/, outside the repository.

An entry is put there by a rename, so it is complete or absent. To have it made anew remove it.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil

from .proc import KitError, wait_until


def directory(*names):
    """The cache directory, or one in it. Not made."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base, "ivshmem", *names)


@contextlib.contextmanager
def locked(where, what, timeout=900):
    """Only one makes what is in this directory; whoever waited finds it there. The kernel drops
    the lock of who dies, so whatever new() left there is then nobody's."""
    try:
        pathlib.Path(where).mkdir(parents=True, exist_ok=True)
        lock = open(pathlib.Path(where, ".lock"), "w")
    except OSError as e:
        raise KitError(f"cannot use the cache directory {where}: {e.strerror}; set XDG_CACHE_HOME "
                       "to a directory that you can write to") from e

    def taken():
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False

    with lock:
        if not taken():
            print(f"waiting for another process that makes {what} ...", flush=True)
            if not wait_until(taken, timeout):
                raise KitError(f"another process holds {where}/.lock for {timeout // 60} minutes")
        for left_over in pathlib.Path(where).glob(".new-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        yield


@contextlib.contextmanager
def new(where):
    """An empty directory beside the entries, for who has the lock; rename out of it what is done."""
    path = pathlib.Path(where, f".new-{os.getpid()}")
    try:
        path.mkdir()
        yield path
    except OSError as e:
        raise KitError(f"cannot make anything in the cache directory {where}: {e}") from e
    finally:
        shutil.rmtree(path, ignore_errors=True)
