# SPDX-License-Identifier: BSD-3-Clause
# Shortcuts for common tasks. meson and scripts/ do the work.
BUILD ?= build

KERNEL ?= $(shell uname -r)

.PHONY: all deb rpm driver demo check check-quick check-slow bench bench-channel bench-plots install clean

all:
	@scripts/install-packages build
	@scripts/build $(BUILD)

# Build Debian packages in BUILD/deb.
deb:
	@scripts/install-packages build deb
	@scripts/make-deb $(BUILD)/deb

# Build RPM packages in BUILD/rpm, on Fedora or openSUSE.
rpm:
	@scripts/install-packages build rpm
	@scripts/make-rpm $(BUILD)/rpm

# Build the guest driver for the running kernel or for KERNEL=VERSION; needs linux-headers-VERSION.
driver:
	@test -d /lib/modules/$(KERNEL)/build || { \
		echo "driver: no headers for Linux $(KERNEL): install linux-headers-$(KERNEL)," \
			"or choose another kernel: make driver KERNEL=VERSION" >&2; exit 1; }
	@mkdir -p $(BUILD)/driver/kernel $(BUILD)/driver/include
	@cp kernel/* $(BUILD)/driver/kernel && cp -r include/ivshmem $(BUILD)/driver/include
	@$(MAKE) -C /lib/modules/$(KERNEL)/build M=$(abspath $(BUILD))/driver/kernel modules
	@cp $(BUILD)/driver/kernel/ivshmem.ko $(BUILD)/driver
	@echo "driver: $(BUILD)/driver/ivshmem.ko for Linux $(KERNEL)"

# Run two guests and a host process that communicate. DEMO=host: run three processes on the host,
# without a VM. KEEP=1: leave the guests running.
demo:
	@scripts/install-packages build $(if $(filter host,$(DEMO)),,demo)
	@scripts/build $(BUILD)
	@scripts/demo.py $(BUILD)

# Run all tests. The last line of output is "N passed, N failed".
check:
	@scripts/install-packages build demo test
	@scripts/check $(BUILD)

# Run the tests that are fast enough for every commit, which takes a minute or two.
check-quick:
	@scripts/install-packages build test
	@scripts/check-quick $(BUILD)

# Measure the cost of joining a server, as ratios to a floor. BENCH holds options for bench/join,
# such as BENCH="--storm 64x1 --json".
bench:
	@scripts/install-packages build
	@scripts/build $(BUILD)
	@$(BUILD)/bench/join $(BENCH) $(BUILD)/tools/ivshmem-server

# Compare channels with other ways to pass messages. BENCH holds options, such as
# BENCH="--rounds 9". Ways that are not installed have no numbers.
bench-channel:
	@scripts/install-packages build
	@scripts/install-packages bench || echo "bench-channel: continuing without them" >&2
	@scripts/build $(BUILD)
	@$(BUILD)/bench/channel --save $(BUILD)/bench-channel.json $(BENCH)

# Draw what bench-channel measured.
bench-plots:
	@bench/plot $(BUILD)/bench-channel.json bench/plots

# Run tests that take minutes and are not part of check: more random histories, larger models,
# longer fuzzing, the driver on other kernels.
check-slow:
	@scripts/install-packages build demo test slow
	@scripts/check-slow $(BUILD)

install: all
	@meson install -C $(BUILD)

clean:
	rm -rf $(BUILD)
