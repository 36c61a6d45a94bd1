/* SPDX-License-Identifier: BSD-3-Clause */
/* Asks the program of a VM, which is a QEMU, what it can do. */
#ifndef TOOLS_IVSHMEM_DOCTOR_VM_PROGRAM_H
#define TOOLS_IVSHMEM_DOCTOR_VM_PROGRAM_H

#include "doctor/facts.h"

/**
 * vm_program_ask() - run the program at @vm->program with "-version" and "-device help"
 * @link: /proc/PID/exe, to make sure that the process still runs the program that is at this path
 *
 * A user can start any program under the name of QEMU. So the program runs only if no user but root
 * and the user of the doctor could have put it at this path, and if its file name is one of QEMU's;
 * and it runs as the user of the VM. All runs together take at most 5 s.
 */
void vm_program_ask(const char *link, struct ivs_doctor_vm *vm);

#endif
