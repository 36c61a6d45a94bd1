# SPDX-License-Identifier: BSD-3-Clause
# Shortcuts for common tasks; meson and scripts/ do the work.
BUILD ?= build

KERNEL ?= $(shell uname -r)

.PHONY: all driver demo check check-quick check-slow bench install clean

all:
	@scripts/install-packages build
	@scripts/build $(BUILD)

# The guest driver, for the running kernel or KERNEL=VERSION; needs linux-headers-VERSION.
driver:
	@test -d /lib/modules/$(KERNEL)/build || { \
		echo "driver: no headers for Linux $(KERNEL): install linux-headers-$(KERNEL)," \
			"or choose another kernel: make driver KERNEL=VERSION" >&2; exit 1; }
	@mkdir -p $(BUILD)/driver/kernel $(BUILD)/driver/include
	@cp kernel/* $(BUILD)/driver/kernel && cp -r include/ivshmem $(BUILD)/driver/include
	@$(MAKE) -C /lib/modules/$(KERNEL)/build M=$(abspath $(BUILD))/driver/kernel modules
	@cp $(BUILD)/driver/kernel/ivshmem.ko $(BUILD)/driver
	@echo "driver: $(BUILD)/driver/ivshmem.ko for Linux $(KERNEL)"

# Two guests and the host communicate. DEMO=host: three processes, no VM. KEEP=1: keep the guests.
demo:
	@scripts/install-packages build $(if $(filter host,$(DEMO)),,demo)
	@scripts/build $(BUILD)
	@scripts/demo.py $(BUILD)

# All tests; ends with "N passed, N failed".
check:
	@scripts/install-packages build demo test
	@scripts/check $(BUILD)

# The tests of a minute or two, for every commit.
check-quick:
	@scripts/install-packages build test
	@scripts/check-quick $(BUILD)

# The cost of joining a server, as ratios to a floor. Options: BENCH="--storm 64x1 --json".
bench:
	@scripts/install-packages build
	@scripts/build $(BUILD)
	@$(BUILD)/bench/join $(BENCH) $(BUILD)/tools/ivshmem-server

# Tests that take minutes, not part of check: more random histories, larger models, longer fuzzing,
# the driver on debug kernels.
check-slow:
	@scripts/install-packages build demo test slow
	@scripts/check-slow $(BUILD)

install: all
	@meson install -C $(BUILD)

clean:
	rm -rf $(BUILD)
