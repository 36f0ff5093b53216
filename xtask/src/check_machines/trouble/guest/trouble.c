// Trouble in a kernel, on request: a program writes a command to /proc/trouble, and it happens in that program's task.
//
// What is about to happen is said on the console first, with addresses, so that the host knows it without reading memory:
//   trouble: PID COMM wants|has HOW NAME ADDRESS
//   trouble: PID COMM does KIND
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/rtmutex.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/semaphore.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/uaccess.h>

static DEFINE_MUTEX(trouble_a);
static DEFINE_MUTEX(trouble_b);
static DEFINE_MUTEX(trouble_c);
static DEFINE_MUTEX(trouble_d);
static DECLARE_RWSEM(trouble_rw);
static DECLARE_RWSEM(trouble_shared);
static DECLARE_RWSEM(trouble_ring);
static DEFINE_RT_MUTEX(trouble_rt);
static struct semaphore trouble_sem;
static struct mutex *heap;

struct thing {
	long before[8];
	struct list_head link;
	long value;
};
static LIST_HEAD(things);

static const struct {
	const char *name;
	void *lock;
} locks[] = {
	{"trouble_a", &trouble_a}, {"trouble_b", &trouble_b}, {"trouble_c", &trouble_c}, {"trouble_d", &trouble_d},
	{"trouble_rw", &trouble_rw}, {"trouble_shared", &trouble_shared}, {"trouble_ring", &trouble_ring},
	{"trouble_rt", &trouble_rt}, {"trouble_sem", &trouble_sem}, {"heap", NULL},
};

static noinline int trouble_lock(const char *how, const char *name)
{
	void *lock = NULL;
	int error = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(locks); i++)
		if (!strcmp(name, locks[i].name))
			lock = locks[i].lock ? locks[i].lock : heap;
	if (!lock)
		return -ENOENT;
	pr_info("trouble: %d %s wants %s %s %px\n", task_pid_nr(current), current->comm, how, name, lock);
	if (!strcmp(how, "mutex"))
		mutex_lock(lock);
	else if (!strcmp(how, "interruptible"))
		error = mutex_lock_interruptible(lock);
	else if (!strcmp(how, "killable"))
		error = mutex_lock_killable(lock);
	else if (!strcmp(how, "read"))
		down_read(lock);
	else if (!strcmp(how, "write"))
		down_write(lock);
	else if (!strcmp(how, "semaphore"))
		down(lock);
	else if (!strcmp(how, "rt_mutex"))
		rt_mutex_lock(lock);
	else
		return -EINVAL;
	if (!error)
		pr_info("trouble: %d %s has %s %s %px\n", task_pid_nr(current), current->comm, how, name, lock);
	return error;
}

static noinline long trouble_read(struct thing *thing)
{
	return READ_ONCE(thing->value);
}

static noinline void trouble_store(struct thing *thing)
{
	WRITE_ONCE(thing->value, 0x7ab1e);
}

static noinline void trouble_call(void (*function)(void))
{
	function();
	barrier();
}

static noinline long trouble_divide(long above, long below)
{
	return above / below;
}

static noinline void trouble_bug(void)
{
	BUG();
}

static noinline void trouble_warn(void)
{
	WARN(1, "trouble: warned\n");
}

static noinline void trouble_list(struct thing *thing)
{
	list_del(&thing->link);
	list_del(&thing->link);
}

/* An entry that was taken out leads to poison. */
static noinline long trouble_follow(struct thing *thing)
{
	list_del(&thing->link);
	return trouble_read(list_next_entry(thing, link));
}

static noinline long trouble_deep(long depth)
{
	volatile long room[64];

	if (depth < 0)
		return 0;
	room[depth & 63] = depth;
	return trouble_deep(depth + 1) + room[(depth + 1) & 63];
}

static noinline void trouble_spin(void)
{
	preempt_disable();
	for (;;)
		cpu_relax();
}

static void trouble_interrupt(void *null)
{
	trouble_store(null);
}

static noinline int trouble_do(const char *kind)
{
	struct thing *thing = kzalloc(sizeof(*thing), GFP_KERNEL);
	void *null = NULL;

	if (!thing)
		return -ENOMEM;
	list_add(&thing->link, &things);
	OPTIMIZER_HIDE_VAR(null);
	pr_info("trouble: %d %s does %s\n", task_pid_nr(current), current->comm, kind);
	if (!strcmp(kind, "read"))
		return trouble_read(null) == 5;
	if (!strcmp(kind, "store"))
		trouble_store(null);
	else if (!strcmp(kind, "call"))
		trouble_call(null);
	else if (!strcmp(kind, "divide"))
		return trouble_divide(7, (long)null);
	else if (!strcmp(kind, "bug"))
		trouble_bug();
	else if (!strcmp(kind, "warn"))
		trouble_warn();
	else if (!strcmp(kind, "list"))
		trouble_list(thing);
	else if (!strcmp(kind, "follow"))
		return trouble_follow(thing) == 5;
	else if (!strcmp(kind, "deep"))
		return trouble_deep((long)null) == 5;
	else if (!strcmp(kind, "spin"))
		trouble_spin();
	else if (!strcmp(kind, "interrupt"))
		smp_call_function_single(!raw_smp_processor_id(), trouble_interrupt, null, 1);
	else
		return -EINVAL;
	return 0;
}

static ssize_t trouble_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	char text[64], *rest = text, *word;
	int error;

	if (count >= sizeof(text) || copy_from_user(text, from, count))
		return -EINVAL;
	text[count] = 0;
	rest = strim(text);
	word = strsep(&rest, " ");
	error = rest ? trouble_lock(word, rest) : trouble_do(word);
	return error < 0 ? error : count;
}

static const struct proc_ops operations = {.proc_write = trouble_write};

static int __init trouble_init(void)
{
	heap = kmalloc(sizeof(*heap), GFP_KERNEL);
	if (!heap)
		return -ENOMEM;
	mutex_init(heap);
	sema_init(&trouble_sem, 1);
	return proc_create("trouble", 0200, NULL, &operations) ? 0 : -ENOMEM;
}

module_init(trouble_init);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("makes known trouble in a guest's kernel");
