/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI function (pci/function.h), driven by lines of text: for tables in tests, and for the
 * comparison with QEMU. Numbers as in C; what a line gives is text, too:
 *
 *     device plain|doorbell|legacy [vectors=N] [intx] [32bit] [memory=N] [revision=N] [name=TEXT]
 *            [uuid]                    "ok", or the error; without it the uuid is none
 *     read config|bar0|bar1 OFFSET LEN the number in hexadecimal, as many digits as there are bytes
 *     write REGION OFFSET LEN VALUE    "", or "ring PEER VECTOR"
 *     len REGION                       bytes
 *     id N, reset                      ""
 *     doorbell VECTOR                  "", a peer rings
 *     route VECTOR, unroute VECTOR     ""
 *     next                             "VECTOR" that is sent now, or "none"
 *     intx                             "up" or "down"
 *     move                             "ok": save, another device with the same options, load
 */
#ifndef DEVICE_SCRIPT_H
#define DEVICE_SCRIPT_H

#include "pci/function.h"

#define DEVICE_SCRIPT_OUT 600
#define DEVICE_SCRIPT_UUID "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"

/**
 * struct device_script - what the lines are about
 * @options: of the device that there is
 * @name:    of its region
 */
struct device_script {
	struct ivs_pci_function device;
	struct ivs_pci_function_options options;
	char name[256];
};

/** device_script_line() - run @line. Return: false if it is none; @out says what came of it. */
bool device_script_line(struct device_script *script, const char *line,
			char out[DEVICE_SCRIPT_OUT]);

#endif
