/*
 * Waiting: every kind of blocking call that the kernel restarts by itself when a thread is stopped and goes on, in
 * threads that no signal can reach, so that any failure or early return was made by whoever stopped them.
 *
 * *Folklore*: `epoll_wait` does fail with EINTR after any stop, even with no handler (signal(7), "Interruption of system
 * calls and library functions by stop signals"; Linux, `ep_poll`); it is counted apart from the others.
 */
#ifndef BUSY_WAITS_H
#define BUSY_WAITS_H
#include "busy.h"
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/timerfd.h>

/* Relative sleeps: the rest of one is kept in the kernel's restart block, which only one call can hold. */
static void *sleep_shortly(void *unused)
{
    struct part *own = part("sleep");
    (void)unused;
    open_to(0, 0, 0);
    for (;; beat(own)) {
        struct timespec time = {0, 3000000};
        uint64_t begin = now();
        if (nanosleep(&time, 0) != 0)
            harm(SLEEP_INTERRUPTED, errno);
        else if (now() - begin < 3000000)
            harm(EARLY_WAKE, (long)(now() - begin));
        begin = now();
        int error = clock_nanosleep(CLOCK_MONOTONIC, 0, &time, 0);
        if (error != 0)
            harm(SLEEP_INTERRUPTED, error);
        else if (now() - begin < 3000000)
            harm(EARLY_WAKE, (long)(now() - begin));
    }
    return 0;
}

/* One that sleeps long: most stops meet it in the middle. */
static void *sleep_long(void *unused)
{
    struct part *own = part("sleep long");
    (void)unused;
    open_to(0, 0, 0);
    for (;; beat(own)) {
        struct timespec time = {0, 250000000};
        uint64_t begin = now();
        if (nanosleep(&time, 0) != 0)
            harm(SLEEP_INTERRUPTED, errno);
        else if (now() - begin < 250000000)
            harm(EARLY_WAKE, (long)(now() - begin));
    }
    return 0;
}

static void *poll_nothing(void *unused)
{
    struct part *own = part("poll");
    (void)unused;
    open_to(0, 0, 0);
    for (;; beat(own)) {
        uint64_t begin = now();
        int got = poll(0, 0, 4);
        if (got != 0)
            harm(POLL_INTERRUPTED, errno);
        else if (now() - begin < 4000000)
            harm(EARLY_WAKE, (long)(now() - begin));
        struct timeval time = {0, 4000};
        if (select(0, 0, 0, 0, &time) != 0)
            harm(SELECT_INTERRUPTED, errno);
    }
    return 0;
}

static atomic_uint word;
static atomic_uint limited;

static long futex(atomic_uint *at, int operation, unsigned value, const struct timespec *time)
{
    return syscall(SYS_futex, at, operation | FUTEX_PRIVATE_FLAG, value, time, 0, 0);
}

/* Waits without limit, and with one (whose restart goes through the restart block). */
static void *wait_futex(void *unused)
{
    struct part *own = part("futex");
    (void)unused;
    open_to(0, 0, 0);
    for (;; beat(own)) {
        unsigned value = atomic_load(&word);
        if (futex(&word, FUTEX_WAIT, value, 0) != 0 && errno != EAGAIN)
            harm(FUTEX_INTERRUPTED, errno);
        struct timespec time = {0, 2000000};
        if (futex(&limited, FUTEX_WAIT, 0, &time) != 0 && errno != ETIMEDOUT)
            harm(FUTEX_INTERRUPTED, errno);
    }
    return 0;
}

static void *wake_futex(void *unused)
{
    struct part *own = part("wake");
    (void)unused;
    open_to(0, 0, 0);
    for (;; beat(own)) {
        atomic_fetch_add(&word, 1);
        futex(&word, FUTEX_WAKE, 1, 0);
        nap(700000);
    }
    return 0;
}

static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static long whose;

static void *ping_pong(void *which)
{
    struct part *own = part("condition");
    open_to(0, 0, 0);
    for (;; beat(own)) {
        pthread_mutex_lock(&table);
        while (whose != (long)which)
            pthread_cond_wait(&turn, &table);
        whose = 1 - whose;
        pthread_cond_broadcast(&turn);
        pthread_mutex_unlock(&table);
        nap(200000);
    }
    return 0;
}

static int event_end, epoll_end;

static void *wait_epoll(void *unused)
{
    struct part *own = part("epoll");
    (void)unused;
    open_to(0, 0, 0);
    for (;; beat(own)) {
        struct epoll_event event;
        uint64_t value;
        int got = epoll_wait(epoll_end, &event, 1, -1);
        if (got < 0)
            harm(EPOLL_INTERRUPTED, errno);
        else if (got != 1 || event.data.u64 != 0x1122334455667788u || !(event.events & EPOLLIN))
            harm(EPOLL_LOST, got);
        else if (read(event_end, &value, sizeof value) != sizeof value)
            harm(EPOLL_LOST, errno);
    }
    return 0;
}

static void *send_events(void *unused)
{
    struct part *own = part("events");
    (void)unused;
    open_to(0, 0, 0);
    for (;; beat(own)) {
        uint64_t one = 1;
        if (write(event_end, &one, sizeof one) != sizeof one)
            harm(EPOLL_LOST, errno);
        nap(8000000);
    }
    return 0;
}

#define TIMERFD_PERIOD 3000000u
static uint64_t timerfd_begin;
static atomic_ulong timerfd_seen;
static int timerfd_end;

static void *read_timerfd(void *unused)
{
    struct part *own = part("timerfd");
    (void)unused;
    open_to(0, 0, 0);
    for (;; beat(own)) {
        uint64_t value;
        ssize_t got = read(timerfd_end, &value, sizeof value);
        if (got != sizeof value)
            harm(TIMERFD_INTERRUPTED, got < 0 ? errno : got);
        else
            atomic_fetch_add(&timerfd_seen, value);
    }
    return 0;
}

static long timerfd_missing(void)
{
    unsigned long seen = atomic_load(&timerfd_seen);
    return (long)((now() - timerfd_begin) / TIMERFD_PERIOD) - (long)seen;
}

static void start_waits(void)
{
    event_end = eventfd(0, EFD_CLOEXEC);
    epoll_end = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1122334455667788u};
    if (epoll_ctl(epoll_end, EPOLL_CTL_ADD, event_end, &event) != 0)
        die("epoll_ctl");
    timerfd_end = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct itimerspec every = {{0, TIMERFD_PERIOD}, {0, TIMERFD_PERIOD}};
    timerfd_begin = now();
    if (timerfd_settime(timerfd_end, 0, &every, 0) != 0)
        die("timerfd_settime");
    start(sleep_shortly, 0);
    start(sleep_long, 0);
    start(poll_nothing, 0);
    start(wait_futex, 0);
    start(wake_futex, 0);
    start(ping_pong, (void *)0);
    start(ping_pong, (void *)1);
    start(wait_epoll, 0);
    start(send_events, 0);
    start(read_timerfd, 0);
}
#endif
