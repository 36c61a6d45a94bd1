// SPDX-License-Identifier: GPL-2.0-only
/* For tests: cause a fault that the debug kernel must detect. Usage: insmod faulty.ko what=FAULT */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

static char *what = "nothing";
module_param(what, charp, 0);

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(lock);

static void use_after_free(void)
{
	u32 *memory = kmalloc(64, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(memory);
	kfree(memory);
	pr_info("faulty: %u\n", READ_ONCE(memory[3]));
}

static void sleep_in_atomic(void)
{
	spin_lock(&lock);
	msleep(1);
	spin_unlock(&lock);
}

/* No thread ever deadlocks here, but lockdep detects that two threads could. */
static void locks_both_ways(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

static int __init faulty_init(void)
{
	if (!strcmp(what, "use-after-free"))
		use_after_free();
	else if (!strcmp(what, "sleep-in-atomic"))
		sleep_in_atomic();
	else if (!strcmp(what, "locks-both-ways"))
		locks_both_ways();
	return 0;
}

static void __exit faulty_exit(void)
{
}

module_init(faulty_init);
module_exit(faulty_exit);
MODULE_DESCRIPTION("For tests: faults that a debug kernel must detect");
MODULE_LICENSE("GPL");
