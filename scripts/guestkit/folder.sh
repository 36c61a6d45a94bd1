#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Run a command in a folder (stable.py), in mount and pid namespaces of its own:
#   folder.sh FOLDER BUILD_DIRECTORY_OR_"" COMMAND...
# Whatever is written goes to memory, but for /build; all mounts end with the process.
set -e
exec 2>&1 # errors stay beside what they are about
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
