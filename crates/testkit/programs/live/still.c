/*
 * Stands still: every thread is some functions deep in a call that does not return, each in another kind of call.
 *
 *   still [--threads N] [--deadline SECONDS]
 *
 * `retire` ends the first thread alone: the others are the process from then on.
 *
 * What one tool says about it now, another must say later: the same threads, stacks, registers and memory.
 *
 * Trap: whoever stops it makes `epoll_wait` fail with EINTR; the loop around it goes back in, but its registers were
 * others for a moment.
 */
#include "live.h"
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

struct order {
    int number;
    const char *customer;
    double price;
    struct order *next;
};

static pthread_barrier_t all;
static pthread_mutex_t never = PTHREAD_MUTEX_INITIALIZER;
static sem_t empty;
static int silent[2], epoll_end;

NOINLINE static long settle(struct order *order, long kind)
{
    char byte;
    struct epoll_event event;
    struct timespec long_time = {100000, 0};
    for (;;)
        switch (kind % 7) {
        case 0:
            if (read(silent[0], &byte, 1) > 0)
                return order->number;
            break;
        case 1:
            pthread_mutex_lock(&never);
            break;
        case 2:
            nanosleep(&long_time, 0);
            break;
        case 3:
            poll(0, 0, -1);
            break;
        case 4:
            epoll_wait(epoll_end, &event, 1, -1);
            break;
        case 5:
            sem_wait(&empty);
            break;
        default:
            pause();
        }
}

NOINLINE static long take(struct order *order, long kind, int depth)
{
    struct order next = {order->number + 1, order->customer, order->price * 1.5, order};
    if (depth > 0)
        return take(&next, kind, depth - 1) + next.number;
    pthread_barrier_wait(&all);
    return settle(&next, kind) + next.number;
}

static void *work(void *number)
{
    char name[16];
    struct order first = {(int)(long)number * 100, "Ada Lovelace", 12.5, 0};
    snprintf(name, sizeof name, "worker %ld", (long)number);
    prctl(PR_SET_NAME, name);
    return (void *)take(&first, (long)number, 3 + (int)((long)number % 5));
}

int main(int argc, char **argv)
{
    char line[64];
    unsigned long count = number(argc, argv, "--threads", 14);
    deadline(argc, argv);
    epoll_end = epoll_create1(0);
    if (pipe(silent) != 0 || epoll_end < 0)
        die("pipe");
    sem_init(&empty, 0, 0);
    pthread_mutex_lock(&never);
    pthread_barrier_init(&all, 0, (unsigned)count + 1);
    uint64_t *heap = malloc(1 << 20), seed = 88172645463325252u;
    for (int i = 0; i < (1 << 20) / 8; i++)
        heap[i] = seed = mix(seed);
    for (unsigned long i = 0; i < count; i++)
        start(work, (void *)i);
    pthread_barrier_wait(&all);
    nap(50000000);
    printf("{\"ready\":true,\"pid\":%d,\"threads\":%lu}\n", getpid(), count + 1);
    while (command(line, sizeof line)) {
        if (strcmp(line, "quit") == 0)
            _exit(0);
        printf("{}\n");
        fflush(stdout);
        if (strcmp(line, "retire") == 0)
            syscall(SYS_exit, 0);
    }
    return 2;
}
