/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drives the PCI function (pci/function.h) with lines of text, for tables in tests and for the
 * comparison with QEMU. Numbers are written as in C. The right column shows the output of each
 * line:
 *
 *     device plain|doorbell|legacy [vectors=N] [intx] [32bit] [memory=N] [revision=N] [name=TEXT]
 *            [uuid]                    "ok" or the error; without "uuid" the device has no UUID
 *     read config|bar0|bar1 OFFSET LEN the bytes in hexadecimal
 *     write REGION OFFSET LEN VALUE    "", or "ring PEER VECTOR" if it rings a doorbell
 *     len REGION                       the length in bytes
 *     id N, reset                      ""
 *     doorbell VECTOR                  "": a peer rings the device
 *     route VECTOR, unroute VECTOR     ""
 *     next                             "VECTOR" of the next MSI-X message, or "none"
 *     intx                             "up" or "down"
 *     move                             "ok" or the error: save, and load into a new device
 */
#ifndef DEVICE_SCRIPT_H
#define DEVICE_SCRIPT_H

#include "pci/function.h"

#define DEVICE_SCRIPT_OUT 600
#define DEVICE_SCRIPT_UUID "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"

/**
 * struct device_script - the device and its options
 * @options: the options of @device
 * @name:    the region's name, to which @options points
 */
struct device_script {
	struct ivs_pci_function device;
	struct ivs_pci_function_options options;
	char name[256];
};

/** device_script_line() - run @line, store its output in @out. Return: false if it is invalid */
bool device_script_line(struct device_script *script, const char *line,
			char out[DEVICE_SCRIPT_OUT]);

#endif
