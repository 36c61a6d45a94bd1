#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Run a command in a root directory (release.py), in new mount and pid namespaces:
#   folder.sh FOLDER BUILD_DIRECTORY_OR_"" COMMAND...
# All writes go to a tmpfs, except those to /build, where BUILD_DIRECTORY is mounted. The mounts
# disappear when the command exits.
set -e
exec 2>&1 # keep errors and output in order
cd "$1"
mount -t tmpfs tmpfs mnt
mkdir mnt/upper mnt/work mnt/root
mount -t overlay overlay -o lowerdir=.,upperdir=mnt/upper,workdir=mnt/work mnt/root
mount --rbind /dev mnt/root/dev
mount -t proc proc mnt/root/proc
if [ -n "$2" ]; then
	mkdir mnt/root/build
	mount --bind "$2" mnt/root/build
fi
shift 2
exec chroot mnt/root "$@"
