/* As many threads as the argument says, each parked five functions deep; the one in the middle then reads null. */
#include "chain.h"
#include <pthread.h>
#include <stdlib.h>

static pthread_barrier_t barrier;
static pthread_mutex_t never = PTHREAD_MUTEX_INITIALIZER;
static long culprit;

NOINLINE int read_job(const volatile int *job)
{
    return *job; /* CRASH */
}

NOINLINE int park(long number)
{
    pthread_barrier_wait(&barrier);
    if (number == culprit)
        return read_job(0) + 1;
    pthread_mutex_lock(&never);
    return 1;
}

NOINLINE int take_turn(long number)
{
    return park(number) + 1;
}

NOINLINE int handle_job(long number)
{
    return take_turn(number) + 1;
}

NOINLINE int serve(long number)
{
    return handle_job(number) + 1;
}

static void *worker(void *number)
{
    return (void *)(long)serve((long)number);
}

int main(int argc, char **argv)
{
    long count = argc > 1 ? atol(argv[1]) : 8;
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 * 1024);
    pthread_mutex_lock(&never);
    pthread_barrier_init(&barrier, 0, (unsigned)count + 1);
    culprit = count / 2;
    for (long i = 0; i < count; i++)
        if (pthread_create(&thread, &attributes, worker, (void *)i) != 0)
            return 2;
    pthread_barrier_wait(&barrier);
    pthread_mutex_lock(&never);
    return 0;
}
