/* SPDX-License-Identifier: BSD-3-Clause */
/* Declarations shared only by the files of src/config. */
#ifndef IVS_CONFIG_PRIVATE_H
#define IVS_CONFIG_PRIVATE_H

#include "config/config.h"
#include "config/escape.h"

/*
 * Room for an argument: a path whose characters are all written twice, and the rest of the
 * argument.
 */
#define ARGUMENT_LEN 12288

/* The index of libvirt's first port for hot-plugged devices. */
#define LIBVIRT_PORT 16

/**
 * struct arguments - QEMU arguments that are being composed
 * @xml: the arguments are for <qemu:commandline>; otherwise they are for a shell
 * @any: @out already contains arguments
 */
struct arguments {
	struct ivs_out *out;
	bool xml;
	bool any;
};

/**
 * ivs_config_check() - if a string in @config is not valid, set @pieces->out.full: some strings are
 * pasted as they are, without ivs_escape()
 */
void ivs_config_check(const struct ivs_config *config, struct ivs_pieces *pieces);

/** ivs_arguments_add() - add a QEMU option and its value, which this function escapes */
void ivs_arguments_add(struct arguments *arguments, const char *option, const char *value);

/** ivs_arguments_device() - add the options that create a device */
void ivs_arguments_device(struct arguments *arguments, const struct ivs_config_device *device);

/** ivs_arguments_end() - end the last line */
void ivs_arguments_end(struct arguments *arguments);

/** enum step - the steps of plugging in and unplugging a device through QEMU's monitor */
enum step {
	STEP_BACKEND,	     /* create the device's backend; ivshmem-device needs none */
	STEP_DEVICE,	     /* plug the device in */
	STEP_UNPLUG,	     /* unplug the device */
	STEP_REMOVE_BACKEND, /* then remove what STEP_BACKEND has created */
};

/** ivs_qmp_command() - compose the command of a step. Return: whether the step needs one. */
IVS_MUST_USE bool ivs_qmp_command(struct ivs_out *out, const struct ivs_config_device *device,
				  enum step step, const char *bus);

/**
 * ivs_window_text() - the size of the window that a port needs for the device, in QEMU's notation
 */
const char *ivs_window_text(const struct ivs_config_device *device, char *out);

/** ivs_device_program() - add ivshmem-device(1) options except --socket, as words of @syntax */
void ivs_device_program(struct ivs_out *out, const struct ivs_config_device *device,
			enum ivs_syntax syntax);

/** ivs_pieces_device_program() - add the piece that starts ivshmem-device(1) by hand */
void ivs_pieces_device_program(struct ivs_pieces *pieces, const struct ivs_config_device *device);

#endif
