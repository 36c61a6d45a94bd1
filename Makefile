# SPDX-License-Identifier: BSD-3-Clause
# The short names of what one does most; meson and scripts/ do the work.
BUILD ?= build

KERNEL ?= $(shell uname -r)

.PHONY: all driver demo check check-slow bench install clean

all:
	@scripts/install-packages build
	@scripts/build $(BUILD)

# The guest's driver, for the running kernel or KERNEL=VERSION; needs its headers (linux-headers-VERSION).
driver:
	@test -d /lib/modules/$(KERNEL)/build || { \
		echo "driver: Linux $(KERNEL) has no headers here: install linux-headers-$(KERNEL)," \
			"or name another kernel: make driver KERNEL=VERSION" >&2; exit 1; }
	@mkdir -p $(BUILD)/driver/kernel $(BUILD)/driver/include
	@cp kernel/* $(BUILD)/driver/kernel && cp -r include/ivshmem $(BUILD)/driver/include
	@$(MAKE) -C /lib/modules/$(KERNEL)/build M=$(abspath $(BUILD))/driver/kernel modules
	@cp $(BUILD)/driver/kernel/ivshmem.ko $(BUILD)/driver
	@echo "driver: $(BUILD)/driver/ivshmem.ko for Linux $(KERNEL)"

# Two guests and the host talk. DEMO=host: three processes, no VM. KEEP=1: leave the guests running.
demo:
	@scripts/install-packages build $(if $(filter host,$(DEMO)),,demo)
	@scripts/build $(BUILD)
	@scripts/demo.py $(BUILD)

# All tests; ends with "N passed, N failed".
check:
	@scripts/install-packages build demo test
	@scripts/check $(BUILD)

# What joining costs, as ratios to what the kernel takes for it. BENCH="--storm 64x1 --json": options.
bench:
	@scripts/install-packages build
	@scripts/build $(BUILD)
	@$(BUILD)/bench/join $(BENCH) $(BUILD)/tools/ivshmem-server

# More of the same for minutes: more random histories, larger models, the driver on a kernel that
# watches itself. Not part of check.
check-slow:
	@scripts/install-packages build demo test slow
	@scripts/check-slow $(BUILD)

install: all
	@meson install -C $(BUILD)

clean:
	rm -rf $(BUILD)
