/*
 * Feels pauses: a thread reads the clock without rest and keeps the longest gap between two readings.
 *
 *   ticker [--size SIZE] [--pages 4k|huge] [--write RATE] [--deadline SECONDS]
 *
 * RATE: pages a second that a writer thread dirties at random places; `full` for as fast as it can; 0 (default) for
 * none. Commands: `reset`; `gaps` (since the last reset, in nanoseconds: the ticker's longest, the ticker's longest of
 * those after which it had not merely waited for a processor, and the writer's longest time for one store); `fork`
 * (how long the program's own fork() takes until it returns here); `quit`.
 *
 * Trap: other load on the machine makes gaps, too. `waited` is what the scheduler says the thread was ready and had no
 * processor during the longest gap, where the kernel keeps that account; and compare with a quiet time of equal length.
 */
#include "live.h"
#include <fcntl.h>
#include <sys/resource.h>

static atomic_ulong longest, waited, longest_net, stalled, stores, ticks;
static atomic_int clear_ticker, clear_writer;
static char *memory;
static unsigned long size, rate;
static int full;

/* Nanoseconds that this thread was ready to run but had to wait; 0 where the kernel does not count it. */
static unsigned long run_delay(int file)
{
    char text[96];
    ssize_t got = pread(file, text, sizeof text - 1, 0);
    unsigned long run, delay;
    if (got <= 0)
        return 0;
    text[got] = 0;
    return sscanf(text, "%lu %lu", &run, &delay) == 2 ? delay : 0;
}

static void *tick(void *unused)
{
    int file = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    unsigned long delay = run_delay(file);
    (void)unused;
    setpriority(PRIO_PROCESS, 0, -10);
    for (uint64_t last = now();;) {
        uint64_t time = now(), gap = time - last;
        last = time;
        if (atomic_load_explicit(&clear_ticker, memory_order_relaxed)) {
            atomic_store(&longest, 0);
            atomic_store(&longest_net, 0);
            atomic_store(&waited, 0);
            delay = run_delay(file);
            atomic_store(&ticks, 0);
            atomic_store(&clear_ticker, 0);
            last = now();
            continue;
        }
        atomic_store_explicit(&ticks, ticks + 1, memory_order_relaxed);
        if (gap < 100000)
            continue;
        unsigned long total = run_delay(file), here = total - delay;
        delay = total;
        unsigned long net = gap > here ? gap - here : 0;
        if (gap > atomic_load(&longest)) {
            atomic_store(&longest, gap);
            atomic_store(&waited, here);
        }
        if (net > atomic_load(&longest_net))
            atomic_store(&longest_net, net);
        last = now();
    }
    return 0;
}

static void *dirty(void *unused)
{
    uint64_t seed = 88172645463325252u, begin = now(), count = 0;
    (void)unused;
    for (;;) {
        if (atomic_load_explicit(&clear_writer, memory_order_relaxed)) {
            atomic_store(&stalled, 0);
            atomic_store(&stores, 0);
            begin = now();
            count = 0;
            atomic_store(&clear_writer, 0);
        }
        seed = mix(seed);
        volatile uint64_t *word = (uint64_t *)(memory + seed % (size / PAGE) * PAGE);
        uint64_t before = now();
        *word = seed;
        uint64_t took = now() - before;
        if (took > atomic_load_explicit(&stalled, memory_order_relaxed))
            atomic_store(&stalled, took);
        atomic_store_explicit(&stores, ++count, memory_order_relaxed);
        if (!full && count * 1000000000u / rate > now() - begin)
            nap(1000000);
    }
    return 0;
}

static void time_fork(void)
{
    int status;
    uint64_t begin = now();
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    uint64_t took = now() - begin;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        die("fork");
    printf("{\"fork\":%lu}\n", (unsigned long)took);
}

int main(int argc, char **argv)
{
    char line[64];
    const char *kind = option(argc, argv, "--pages"), *speed = option(argc, argv, "--write");
    unsigned long large = 2ul << 20;
    deadline(argc, argv);
    size = number(argc, argv, "--size", 64ul << 20);
    full = speed && strcmp(speed, "full") == 0;
    rate = full ? 0 : number(argc, argv, "--write", 0);
    memory = mmap(0, size + large, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    memory = (char *)(((uintptr_t)memory + large - 1) & ~(large - 1));
    madvise(memory, size, kind && strcmp(kind, "huge") == 0 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    /* Half of each page is noise and half is not, so that it can be packed, but not to nothing. */
    uint64_t seed = 88172645463325252u;
    for (unsigned long at = 0; at < size; at += PAGE)
        for (unsigned long i = 0; i < PAGE / 2; i += 8)
            *(uint64_t *)(memory + at + i) = seed = mix(seed);
    start(tick, 0);
    if (full || rate)
        start(dirty, 0);
    while (!atomic_load(&ticks))
        nap(1000000);

    printf("{\"ready\":true,\"pid\":%d,\"size\":%lu}\n", getpid(), size);
    while (command(line, sizeof line)) {
        if (strcmp(line, "reset") == 0) {
            atomic_store(&clear_writer, full || rate);
            atomic_store(&clear_ticker, 1);
            while (atomic_load(&clear_ticker) || atomic_load(&clear_writer))
                nap(100000);
            printf("{\"reset\":true}\n");
        } else if (strcmp(line, "gaps") == 0) {
            printf("{\"longest\":%lu,\"waited\":%lu,\"longest_net\":%lu,\"stalled\":%lu,\"stores\":%lu,\"ticks\":%lu}\n",
                   atomic_load(&longest), atomic_load(&waited), atomic_load(&longest_net), atomic_load(&stalled),
                   atomic_load(&stores), atomic_load(&ticks));
        } else if (strcmp(line, "fork") == 0) {
            time_fork();
        } else if (strcmp(line, "quit") == 0) {
            _exit(0);
        }
    }
    return 2;
}
