/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared by the files of src/config only. */
#ifndef IVS_CONFIG_PRIVATE_H
#define IVS_CONFIG_PRIVATE_H

#include "config/config.h"
#include "config/escape.h"

/* Room for an argument: a path whose characters are all written twice, and the rest. */
#define ARGUMENT_LEN 12288

/* The index of libvirt's first port for devices that are plugged in. */
#define LIBVIRT_PORT 16

/**
 * struct arguments - arguments of QEMU that are being added
 * @xml: for <qemu:commandline>; otherwise for a shell
 * @any: there are already some in @out
 */
struct arguments {
	struct ivs_out *out;
	bool xml;
	bool any;
};

/** ivs_arguments_add() - add an option of QEMU and its value, which this escapes */
void ivs_arguments_add(struct arguments *arguments, const char *option, const char *value);

/** ivs_arguments_device() - add the options that make a device */
void ivs_arguments_device(struct arguments *arguments, const struct ivs_config_device *device);

/** ivs_arguments_end() - end the last line */
void ivs_arguments_end(struct arguments *arguments);

/** enum step - commands of QEMU's monitor for a device */
enum step {
	STEP_BACKEND,	     /* make what the device needs; ivshmem-device needs nothing */
	STEP_DEVICE,	     /* plug it in */
	STEP_UNPLUG,	     /* plug it out */
	STEP_REMOVE_BACKEND, /* then remove what STEP_BACKEND has made */
};

/** ivs_qmp_command() - compose the command of a step. Return: whether the step needs one. */
IVS_MUST_USE bool ivs_qmp_command(struct ivs_out *out, const struct ivs_config_device *device,
				  enum step step, const char *bus);

/** ivs_window_text() - the size of a port's window for the device, as QEMU reads it */
const char *ivs_window_text(const struct ivs_config_device *device, char *out);

/** ivs_device_program() - add the options of ivshmem-device(1) but --socket, as words of @syntax */
void ivs_device_program(struct ivs_out *out, const struct ivs_config_device *device,
			enum ivs_syntax syntax);

/** ivs_pieces_device_program() - the piece that starts ivshmem-device(1) by hand */
void ivs_pieces_device_program(struct ivs_pieces *pieces, const struct ivs_config_device *device);

#endif
