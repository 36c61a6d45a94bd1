# SPDX-License-Identifier: BSD-3-Clause
# The short names of what one does most; meson and scripts/ do the work.
BUILD ?= build

.PHONY: all demo check check-slow bench install clean

all:
	@scripts/install-packages build
	@scripts/build $(BUILD)

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

# More of the same for minutes: more random histories, larger models. Not part of check.
check-slow:
	@scripts/install-packages build test
	@scripts/check-slow $(BUILD)

install: all
	@meson install -C $(BUILD)

clean:
	rm -rf $(BUILD)
