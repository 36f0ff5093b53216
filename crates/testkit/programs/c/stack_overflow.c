/* Recurses until the stack is full, in the main thread or ("thread") in a second one with a small stack. */
#include "chain.h"
#include <pthread.h>
#include <string.h>

NOINLINE int descend(int depth)
{
    volatile char room[2048];
    room[0] = (char)depth;
    return descend(depth + 1) + room[0]; /* CALL */
}

NOINLINE int start_descent(int depth)
{
    return descend(depth) + 1;
}

static void *worker(void *arg)
{
    return (void *)(long)start_descent(*(int *)arg);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "thread") == 0) {
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 256 * 1024);
        pthread_create(&thread, &attributes, worker, &argc);
        pthread_join(thread, 0);
        return 0;
    }
    return start_descent(argc) + 1;
}
