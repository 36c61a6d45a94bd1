#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# /init of a test guest. The kernel passes unknown NAME=VALUE parameters as environment:
#   GUEST_BIND=DRIVER  bind every ivshmem device to this driver before /run
#   GUEST_STAY=1       after /run, run /stay if it exists, and never power off
# The line "guest: exit STATUS" on the console reports the exit of /run.

export PATH=/bin:/sbin HOME=/ TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm /tmp
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
# Silence kernel messages, which would otherwise interrupt lines that programs print. Panics are
# still shown.
dmesg -n 1

while read -r module; do
	insmod "$module" || echo "guest: cannot insert $module: $(dmesg | tail -n 1)"
done </modules/order

if [ -n "$GUEST_BIND" ]; then
	for device in /sys/bus/pci/devices/*; do
		ids=$(cat "$device/vendor" "$device/device" | tr '\n' ' ')
		[ "$ids" = "0x1af4 0x1110 " ] || continue
		echo "$GUEST_BIND" >"$device/driver_override"
		if [ -e "$device/driver" ]; then
			echo "${device##*/}" >"$device/driver/unbind"
		fi
		echo "${device##*/}" >/sys/bus/pci/drivers_probe
		[ -e "$device/driver" ] ||
			echo "guest: cannot bind ${device##*/} to $GUEST_BIND: $(dmesg | tail -n 1)"
	done
fi

# Start the CPUs that were not booted because of maxcpus=1 (see machine.py).
for online in /sys/devices/system/cpu/cpu*/online; do
	[ -e "$online" ] || continue # the pattern matches nothing if there is only one CPU
	[ "$(cat "$online")" = 1 ] || echo 1 >"$online" || echo "guest: cannot start a CPU: $online"
done

echo "guest: up $(cut -d ' ' -f 1 /proc/uptime)"
sh /run
status=$?
# If /run failed, show the kernel's warnings and errors.
[ "$status" = 0 ] || dmesg -r | sed -n 's/^<[0-4]>//p' | tail -n 10
echo "guest: exit $status"

if [ -n "$GUEST_STAY" ]; then
	[ ! -e /stay ] || sh /stay
	while :; do sleep 3600; done
fi
poweroff -f
