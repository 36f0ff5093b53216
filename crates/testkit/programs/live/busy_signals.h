/*
 * Signals: SIGUSR1 flies between two threads, one at a time; numbered values are queued to a third that sits in a
 * blocking read; a POSIX timer ticks in a fourth. Everything that was sent must come, once, in order.
 *
 * *Trap*: an interval timer's late expirations are overruns, so the sum of both is exact however loaded the machine is.
 */
#ifndef BUSY_SIGNALS_H
#define BUSY_SIGNALS_H
#include "busy.h"

#define TIMER_SIGNAL (SIGRTMIN + 1)
#define QUEUE_SIGNAL (SIGRTMIN + 2)
#define TIMER_PERIOD 5000000u

static atomic_ulong ball_sent[2], ball_got[2];
static __thread int side = -1;
static pthread_t player[2];
static atomic_int players;

static void on_ball(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    if (side < 0 || info->si_pid != getpid() || info->si_code != SI_TKILL) {
        harm(SIGNAL_UNEXPECTED, info->si_code);
        return;
    }
    unsigned long got = atomic_fetch_add(&ball_got[side], 1) + 1;
    if (got > atomic_load(&ball_sent[side]))
        harm(SIGNAL_UNEXPECTED, info->si_code);
}

/* Sends a ball to the other, and waits until its handler has it. */
static void *play(void *which)
{
    struct part *own = part("signals");
    int other = 1 - (int)(long)which;
    side = (int)(long)which;
    player[side] = pthread_self();
    open_to(SIGUSR1, 0, 0);
    atomic_fetch_add(&resters, 1);
    atomic_fetch_add(&players, 1);
    while (atomic_load(&players) < 2)
        nap(100000);
    for (;; beat(own)) {
        unsigned long sent = atomic_fetch_add(&ball_sent[other], 1) + 1;
        if (pthread_kill(player[other], SIGUSR1) != 0)
            harm(SIGNAL_LOST, errno);
        for (uint64_t begin = now(); atomic_load(&ball_got[other]) < sent;) {
            if (now() - begin > 20000000000u) {
                harm(SIGNAL_LOST, (long)sent);
                atomic_store(&ball_got[other], sent);
            }
            nap(50000);
        }
        nap(300000);
        rest();
    }
    return 0;
}

static atomic_long queue_sent, queue_got;
static pthread_t reader;
static atomic_int reader_ready;
static int pipe_ends[2];

static void on_queue(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    int saved = errno;
    long got = atomic_fetch_add(&queue_got, 1);
    if (info->si_value.sival_int != (int)got || info->si_code != SI_QUEUE || info->si_pid != getpid())
        harm(QUEUE_ORDER, info->si_value.sival_int - got);
    errno = saved;
}

/* A blocking read with SA_RESTART handlers: it must never see EINTR, nor any of the kernel's restart codes (512 …). */
static void *read_pipe(void *unused)
{
    struct part *own = part("read");
    uint32_t value, expected = 0;
    (void)unused;
    open_to(QUEUE_SIGNAL, 0, 0);
    reader = pthread_self();
    atomic_store(&reader_ready, 1);
    for (;; beat(own)) {
        ssize_t got = read(pipe_ends[0], &value, sizeof value);
        if (got != sizeof value)
            harm(READ_INTERRUPTED, got < 0 ? errno : got);
        else if (value != expected++) {
            harm(READ_ORDER, (long)value - (long)expected);
            expected = value + 1;
        }
    }
    return 0;
}

static void *write_pipe(void *unused)
{
    struct part *own = part("write");
    (void)unused;
    open_to(0, 0, 0);
    atomic_fetch_add(&resters, 1);
    while (!atomic_load(&reader_ready))
        nap(100000);
    for (uint32_t value = 0;; value++, beat(own)) {
        if (write(pipe_ends[1], &value, sizeof value) != sizeof value)
            harm(READ_ORDER, errno);
        for (int i = 0; i < 3; i++) {
            union sigval next = {.sival_int = (int)atomic_load(&queue_sent)};
            if (pthread_sigqueue(reader, QUEUE_SIGNAL, next) == 0)
                atomic_fetch_add(&queue_sent, 1);
            nap(400000);
        }
        rest();
    }
    return 0;
}

static atomic_ulong timer_seen;
static uint64_t timer_begin;
static timer_t timer;
static atomic_int timer_thread;

static void on_timer(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    int saved = errno;
    if (info->si_code != SI_TIMER)
        harm(SIGNAL_UNEXPECTED, info->si_code);
    atomic_fetch_add(&timer_seen, 1 + (unsigned long)info->si_overrun);
    errno = saved;
}

static void *host_timer(void *unused)
{
    struct part *own = part("timer");
    (void)unused;
    open_to(TIMER_SIGNAL, 0, 0);
    atomic_store(&timer_thread, thread_id());
    for (;; beat(own)) {
        unsigned long before = atomic_load(&timer_seen);
        while (atomic_load(&timer_seen) == before)
            pause();
    }
    return 0;
}

/* Difference between the expirations that were counted and those that the clock says. */
static long timer_missing(void)
{
    unsigned long seen = atomic_load(&timer_seen);
    return (long)((now() - timer_begin) / TIMER_PERIOD) - (long)seen;
}

static void start_signals(void)
{
    handle(SIGUSR1, on_ball, SA_RESTART);
    handle(QUEUE_SIGNAL, on_queue, SA_RESTART);
    handle(TIMER_SIGNAL, on_timer, SA_RESTART);
    if (pipe(pipe_ends) != 0)
        die("pipe");
    start(play, (void *)0);
    start(play, (void *)1);
    start(read_pipe, 0);
    start(write_pipe, 0);
    start(host_timer, 0);
    while (!atomic_load(&timer_thread))
        nap(100000);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TIMER_SIGNAL};
    event._sigev_un._tid = atomic_load(&timer_thread);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        die("timer_create");
    struct itimerspec every = {{0, TIMER_PERIOD}, {0, TIMER_PERIOD}};
    timer_begin = now();
    if (timer_settime(timer, 0, &every, 0) != 0)
        die("timer_settime");
}

/* `--altstack`: a thread signals itself, and its handler must run on the alternate stack that it set. */
static __thread char *alternate;
enum { ALTERNATE = 65536 };

static void on_alternate(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    char here;
    if (&here < alternate || &here >= alternate + ALTERNATE)
        harm(ALTSTACK_CHANGED, 1);
}

static void *use_altstack(void *unused)
{
    struct part *own = part("altstack");
    stack_t mine = {.ss_size = ALTERNATE}, seen;
    (void)unused;
    alternate = mmap(0, ALTERNATE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mine.ss_sp = alternate;
    if (alternate == MAP_FAILED || sigaltstack(&mine, 0) != 0)
        die("sigaltstack");
    open_to(SIGUSR2, 0, 0);
    for (;; beat(own)) {
        if (sigaltstack(0, &seen) != 0 || seen.ss_sp != alternate || seen.ss_size != ALTERNATE || seen.ss_flags != 0)
            harm(ALTSTACK_CHANGED, 0);
        pthread_kill(pthread_self(), SIGUSR2);
        nap(700000);
    }
    return 0;
}
#endif
