/*
 * What all living test programs share: options, a deadline, answers in JSON lines, and clocks.
 *
 * A program says one line when it is ready, then takes one command a line from its input and answers each with one
 * line. It ends at the end of its input, when its parent thread dies, and at its deadline, whatever comes first.
 *
 * Trap: PR_SET_PDEATHSIG follows the *thread* that started the program, so that thread must live as long as it.
 */
#ifndef LIVE_H
#define LIVE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))
#define PAGE 4096ul

/* The word after `name`, or null. */
__attribute__((unused)) static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return 0;
}

__attribute__((unused)) static int flag(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return 1;
    return 0;
}

/* A number, or a size with K, M or G. */
__attribute__((unused)) static unsigned long number(int argc, char **argv, const char *name, unsigned long otherwise)
{
    const char *text = option(argc, argv, name);
    char *end;
    if (!text)
        return otherwise;
    unsigned long value = strtoul(text, &end, 0);
    return *end == 'K' ? value << 10 : *end == 'M' ? value << 20 : *end == 'G' ? value << 30 : value;
}

__attribute__((unused)) static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    _exit(3);
}

/* Nothing stays behind: SIGALRM keeps its default action, which ends the process; a stopped one dies with its parent. */
__attribute__((unused)) static void deadline(int argc, char **argv)
{
    alarm((unsigned)number(argc, argv, "--deadline", 600));
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setvbuf(stdout, malloc(65536), _IOFBF, 65536);
}

__attribute__((unused)) static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Sleeps at least so long, whatever signals come. */
__attribute__((unused)) static void nap(uint64_t nanoseconds)
{
    uint64_t end = now() + nanoseconds;
    struct timespec time = {(time_t)(end / 1000000000u), (long)(end % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, 0) == EINTR)
        ;
}

/* Pseudo-random and never zero (xorshift64). */
__attribute__((unused)) static uint64_t mix(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

__attribute__((unused)) static pid_t thread_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

__attribute__((unused)) static void start(void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    if ((errno = pthread_create(&thread, &attributes, run, argument)) != 0)
        die("pthread_create");
    pthread_attr_destroy(&attributes);
}

/* The next command without its line end; 0 at the end of input. */
__attribute__((unused)) static int command(char *line, int size)
{
    fflush(stdout);
    /* By bytes, so that no library call hides an error number that it should not have seen. */
    for (int length = 0; length < size - 1;) {
        ssize_t got = read(0, line + length, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        if (line[length] == '\n') {
            line[length] = 0;
            return 1;
        }
        length++;
    }
    return 0;
}
#endif
