/*
 * Memory and children: buffers under checksum, a mapping that comes and goes, and children that are forked, vforked
 * and waited for all the time.
 *
 * *Trap*: a child of somebody else's making with exit signal 0 shows only to wait with __WALL; both ways are asked.
 */
#ifndef BUSY_MEMORY_H
#define BUSY_MEMORY_H
#include "busy.h"

enum { BLOCK_WORDS = 512, BLOCKS = 64 };
static uint64_t fixed_page[BLOCK_WORDS];

/* Rewrites one block after another, and looks before at what it wrote the last time. */
static void *keep_buffer(void *number)
{
    struct part *own = part("buffer");
    size_t bytes = (size_t)BLOCKS * BLOCK_WORDS * 8;
    int kind = (int)(long)number % 2 ? MAP_SHARED : MAP_PRIVATE;
    uint64_t *buffer = mmap(0, bytes, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    uint64_t sums[BLOCKS] = {0}, seed = 88172645463325252u + (uint64_t)(long)number;
    if (buffer == MAP_FAILED)
        die("mmap");
    open_to(0, 0, 0);
    for (unsigned turn = 0;; turn++) {
        uint64_t *block = buffer + (size_t)(turn % BLOCKS) * BLOCK_WORDS, sum = 0;
        for (int i = 0; i < BLOCK_WORDS; i++)
            sum = sum * 31 + block[i];
        if (sum != sums[turn % BLOCKS])
            harm(BUFFER_CHANGED, (long)turn);
        sum = 0;
        for (int i = 0; i < BLOCK_WORDS; i++)
            sum = sum * 31 + (block[i] = seed = mix(seed));
        sums[turn % BLOCKS] = sum;
        if (turn % BLOCKS == 0) {
            beat(own);
            nap(100000);
        }
    }
    return 0;
}

/* Mappings change while a picture is taken. */
static void *map_and_unmap(void *unused)
{
    struct part *own = part("mappings");
    size_t bytes = 64 * PAGE;
    (void)unused;
    open_to(0, 0, 0);
    atomic_fetch_add(&resters, 1);
    for (uint64_t turn = 1;; turn++, beat(own)) {
        uint64_t *area = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED) {
            harm(MAPPING_FAILED, errno);
            rest();
            continue;
        }
        for (size_t i = 0; i < bytes / 8; i += 64)
            area[i] = turn + i;
        if (mprotect(area, bytes / 2, PROT_READ) != 0 || madvise(area + bytes / 16, PAGE, MADV_DONTNEED) != 0)
            harm(MAPPING_FAILED, errno);
        for (size_t i = 0; i < bytes / 8; i += 64)
            if (area[i] != turn + i && !(i >= bytes / 16 && i < bytes / 16 + PAGE / 8 && area[i] == 0))
                harm(BUFFER_CHANGED, (long)i);
        if (munmap(area, bytes) != 0)
            harm(MAPPING_FAILED, errno);
        nap(500000);
        rest();
    }
    return 0;
}

static volatile pid_t own_child;

static void on_child(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    if (info->si_pid != own_child || info->si_code != CLD_EXITED)
        harm(CHILD_SIGNAL, info->si_code);
}

/* What no child of ours may be left of, asked as ordinary programs and as process managers ask. */
static void look_for_strangers(void)
{
    int status;
    pid_t got = waitpid(-1, &status, WNOHANG);
    if (got > 0 || (got == 0) || errno != ECHILD)
        harm(CHILD_UNKNOWN, got);
    got = waitpid(-1, &status, WNOHANG | __WALL);
    if (got > 0)
        harm(CHILD_UNKNOWN_ALL, status);
}

static void *keep_forking(void *unused)
{
    struct part *own = part("children");
    sigset_t child;
    (void)unused;
    open_to(0, 0, 0);
    atomic_fetch_add(&resters, 1);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    for (unsigned turn = 0;; turn++, beat(own)) {
        int status, expected = (int)(turn & 0x3f) + 1;
        pid_t pid = turn % 4 == 3 ? vfork() : fork();
        if (pid == 0) {
            /* A forked child looks at the memory that it got. */
            for (int i = 0; i < BLOCK_WORDS && turn % 4 != 3; i++)
                if (fixed_page[i] != 0x0123456789abcdefu + (uint64_t)i)
                    _exit(99);
            _exit(expected);
        }
        if (pid < 0) {
            harm(FORK_FAILED, errno);
        } else {
            own_child = pid;
            pthread_sigmask(SIG_UNBLOCK, &child, 0);
            pid_t got = waitpid(pid, &status, 0);
            if (got != pid)
                harm(CHILD_WAIT, errno);
            else if (!WIFEXITED(status) || WEXITSTATUS(status) != expected)
                harm(CHILD_STATUS, status);
            pthread_sigmask(SIG_BLOCK, &child, 0);
        }
        look_for_strangers();
        nap(1000000);
        rest();
    }
    return 0;
}

static void start_memory(int forks)
{
    for (int i = 0; i < BLOCK_WORDS; i++)
        fixed_page[i] = 0x0123456789abcdefu + (uint64_t)i;
    handle(SIGCHLD, on_child, SA_RESTART);
    for (long i = 0; i < 3; i++)
        start(keep_buffer, (void *)i);
    start(map_and_unmap, 0);
    if (forks)
        start(keep_forking, 0);
}
#endif
