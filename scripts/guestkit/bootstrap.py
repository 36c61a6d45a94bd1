# SPDX-License-Identifier: BSD-3-Clause
"""Install a Debian release other than this machine's in a directory of the cache. mmdebstrap does
this, using the mirror and the proxies from this machine's apt configuration.
"""

import hashlib
import os
import re
import shutil
import time

from . import cache, debs
from .proc import KitError, find_program, run_tool


class Unavailable(KitError):
    """Raised if the directory cannot be created on this machine; the caller then skips whatever
    needs it."""


def folder(where, recipe, what, make):
    """Return: the path of the directory in @where that belongs to @recipe, a string. If it is
    missing, directories of other recipes are removed, and make(new, final) is called to create it
    in the directory @new and rename it to @final. @what is a name for messages.
    """
    final = where / hashlib.sha256(recipe.encode()).hexdigest()[:8]
    if not final.is_dir():
        with cache.locked(where, what):
            if not final.is_dir():
                for old in where.glob("[!.]*"):
                    shutil.rmtree(old, ignore_errors=True)
                if not find_program("mmdebstrap"):
                    raise Unavailable("mmdebstrap is missing: install the package mmdebstrap")
                print(f"creating {what} in {where}", flush=True)
                with cache.new(where) as new:
                    make(new, final)
    return final


def debian(suites, packages, directory, options):
    """Install packages in a directory, from the archives of @suites, the first of which is the
    release. @options are additional options of mmdebstrap. Raises KitError on failure."""
    command = ["mmdebstrap", f"--include={','.join(packages)}",
               *[f"--aptopt={line}" for line in _settings()], *options, suites[0], str(directory),
               *[f"deb {mirror()} {suite} main" for suite in suites]]
    if os.geteuid() == 0:
        # Use a separate mount namespace, so that no mount remains even if mmdebstrap is killed.
        command = ["unshare", "--mount", *command]
    begin = time.monotonic()

    def so_far():
        return f"installing Debian {suites[-1]}: {time.monotonic() - begin:.0f} s so far"

    def attempt():
        shutil.rmtree(directory, ignore_errors=True)
        run_tool(command, 900, so_far, every=10)

    debs.patiently(attempt, debs.PAUSES[:2])


def mirror():
    """Return: the Debian mirror in this machine's apt sources."""
    try:
        listed = run_tool(["apt-get", "indextargets", "--format", "$(REPO_URI)",
                           "Created-By: Packages"], 60).splitlines()
    except KitError as e:
        raise Unavailable("apt-get, which knows the Debian mirror, is missing") from e
    for uri in listed:
        if re.search(r"/debian/*$", uri):
            return uri
    raise Unavailable("apt's sources list no Debian mirror")


def _settings():
    """Return: configuration lines for the apt of the new directory: this machine's proxies, and its
    limits on the age of package lists."""
    dumped = run_tool(["apt-config", "dump"], 60).splitlines()
    wanted = re.compile(r"Acquire::(https?::Proxy\S*|Check-\S+|Max-\S+) \"[^\"]+\"")
    return [f"{debs.NO_DELAYS} \"false\"", *filter(wanted.match, dumped)]
