/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drives the PCI function (pci/function.h) with lines of text, for tables in tests and for the
 * comparison with QEMU. Numbers are as in C. The output of each line is text:
 *
 *     device plain|doorbell|legacy [vectors=N] [intx] [32bit] [memory=N] [revision=N] [name=TEXT]
 *            [uuid]                    "ok" or the error; without "uuid" it has no UUID
 *     read config|bar0|bar1 OFFSET LEN the bytes in hexadecimal
 *     write REGION OFFSET LEN VALUE    "", or "ring PEER VECTOR"
 *     len REGION                       bytes
 *     id N, reset                      ""
 *     doorbell VECTOR                  "", a peer rings
 *     route VECTOR, unroute VECTOR     ""
 *     next                             the "VECTOR" that is sent, or "none"
 *     intx                             "up" or "down"
 *     move                             "ok": save, load into another device of the same kind
 */
#ifndef DEVICE_SCRIPT_H
#define DEVICE_SCRIPT_H

#include "pci/function.h"

#define DEVICE_SCRIPT_OUT 600
#define DEVICE_SCRIPT_UUID "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"

/**
 * struct device_script - the device and its options
 * @options: of the current device
 * @name:    of its region
 */
struct device_script {
	struct ivs_pci_function device;
	struct ivs_pci_function_options options;
	char name[256];
};

/** device_script_line() - run @line, with its output in @out. Return: false: it is not valid. */
bool device_script_line(struct device_script *script, const char *line,
			char out[DEVICE_SCRIPT_OUT]);

#endif
