/* SPDX-License-Identifier: BSD-3-Clause */
/* The command "looking-glass test". */
#ifndef TOOLS_IVSHMEM_LOOKING_GLASS_TEST_H
#define TOOLS_IVSHMEM_LOOKING_GLASS_TEST_H

/**
 * looking_glass_test() - parse the arguments after "test", and publish a test pattern
 * @argv: @argv[0] is "test"; it is replaced
 *
 * Return: an exit status (0, STATUS_FAILED, STATUS_USAGE).
 */
int looking_glass_test(int argc, char **argv);

#endif
