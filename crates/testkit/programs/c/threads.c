/* Eight named threads wait, each in a chain of its own; the third (worker-2) reads null. */
#define _GNU_SOURCE
#include "chain.h"
#include <pthread.h>
#include <stdio.h>

#define THREADS 8
static pthread_barrier_t barrier;
static pthread_mutex_t never = PTHREAD_MUTEX_INITIALIZER;

NOINLINE int read_queue(const volatile int *queue)
{
    return *queue; /* CRASH */
}

NOINLINE int process(long number)
{
    pthread_barrier_wait(&barrier);
    if (number == 2)
        return read_queue(0) + 1;
    pthread_mutex_lock(&never);
    return 1;
}

static void *worker(void *arg)
{
    char name[16];
    snprintf(name, sizeof name, "worker-%ld", (long)arg);
    pthread_setname_np(pthread_self(), name);
    return (void *)(long)(process((long)arg) + 1);
}

int main(void)
{
    pthread_t threads[THREADS];
    pthread_mutex_lock(&never);
    pthread_barrier_init(&barrier, 0, THREADS);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], 0, worker, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], 0);
    return 0;
}
