/*
 * The book-keeping of `busy`: what harm was seen, and whether each part still lives.
 *
 * *Example*: `harm(EARLY_WAKE, missing)` counts one and keeps the first detail; `beat(&part)` says that a loop went round.
 */
#ifndef BUSY_H
#define BUSY_H
#include "live.h"

/* Every kind of harm has a name of its own, so that a failing test says what was done to the program. */
#define HARMS(X)                                                                                                       \
    X(BUFFER_CHANGED, "a buffer's checksum is wrong")                                                                  \
    X(TLS_CHANGED, "a thread-local variable changed")                                                                  \
    X(VECTOR_CHANGED, "a vector register changed")                                                                     \
    X(MASK_REGISTER_CHANGED, "an avx-512 mask register changed")                                                       \
    X(X87_CHANGED, "the x87 stack or control word changed")                                                            \
    X(MXCSR_CHANGED, "mxcsr changed")                                                                                  \
    X(REGISTER_CHANGED, "a general register changed")                                                                  \
    X(FLAGS_CHANGED, "the flags changed")                                                                              \
    X(RED_ZONE_CHANGED, "the red zone below the stack pointer changed")                                                \
    X(READ_INTERRUPTED, "a read that restarts failed")                                                                 \
    X(READ_ORDER, "a pipe lost or repeated bytes")                                                                     \
    X(SLEEP_INTERRUPTED, "a sleep failed though no signal could come")                                                 \
    X(EARLY_WAKE, "a sleep ended early")                                                                               \
    X(FUTEX_INTERRUPTED, "a futex wait failed though no signal could come")                                            \
    X(POLL_INTERRUPTED, "poll with a time limit failed though no signal could come")                                   \
    X(SELECT_INTERRUPTED, "select with a time limit failed though no signal could come")                               \
    X(EPOLL_INTERRUPTED, "epoll_wait failed though no signal could come")                                              \
    X(EPOLL_LOST, "epoll_wait gave a wrong event")                                                                     \
    X(TIMERFD_INTERRUPTED, "a read of a timerfd failed")                                                               \
    X(TIMERFD_LOST, "a timerfd lost or made up expirations")                                                           \
    X(TIMER_LOST, "a posix timer lost or made up expirations")                                                         \
    X(SIGNAL_UNEXPECTED, "a signal came that nobody sent")                                                             \
    X(SIGNAL_LOST, "a signal that was sent did not come")                                                              \
    X(QUEUE_ORDER, "a queued signal was lost, repeated, or has a wrong value or sender")                               \
    X(ALTSTACK_CHANGED, "the alternate signal stack changed or was not used")                                          \
    X(CHILD_UNKNOWN, "wait reported a child that the program did not start")                                           \
    X(CHILD_UNKNOWN_ALL, "wait with __WALL reported a child that the program did not start")                           \
    X(CHILD_STATUS, "a child's exit status is wrong")                                                                  \
    X(CHILD_WAIT, "waiting for a child failed")                                                                        \
    X(CHILD_SIGNAL, "sigchld came for what is no child that exited")                                                   \
    X(FORK_FAILED, "fork failed")                                                                                      \
    X(MAPPING_FAILED, "mapping or unmapping memory failed")                                                            \
    X(STUCK, "a thread makes no progress")

#define X(name, text) name,
enum harm { HARMS(X) HARM_COUNT };
#undef X

static struct {
    atomic_ulong count;
    atomic_long detail;
} harms[HARM_COUNT];

static const char *const harm_text[] = {
#define X(name, text) text,
    HARMS(X)
#undef X
};
static const char *const harm_name[] = {
#define X(name, text) #name,
    HARMS(X)
#undef X
};

/* Counts a harm; the first detail (an error number, a difference) is kept. */
static void harm(enum harm what, long detail)
{
    if (atomic_fetch_add(&harms[what].count, 1) == 0)
        atomic_store(&harms[what].detail, detail);
}

/* A loop that must go on. */
struct part {
    const char *name;
    atomic_ulong beats;
    unsigned long seen;
};
static struct part parts[48];
static atomic_int part_count;

static struct part *part(const char *name)
{
    struct part *own = &parts[atomic_fetch_add(&part_count, 1)];
    own->name = name;
    return own;
}

static void beat(struct part *own)
{
    atomic_fetch_add(&own->beats, 1);
}

/* While it is set, whoever sends, forks or maps rests, so that the outside can take a picture to compare. */
static atomic_int hold;
static atomic_int resting;
static atomic_int resters;

/* Called by such loops at a place where nothing is under way. */
static void rest(void)
{
    if (!atomic_load(&hold))
        return;
    atomic_fetch_add(&resting, 1);
    while (atomic_load(&hold))
        nap(200000);
    atomic_fetch_sub(&resting, 1);
}

/* Leaves the calling thread open to these signals only, besides those that end the process. */
static void open_to(int first, int second, int third)
{
    sigset_t set;
    sigfillset(&set);
    for (int i = 0; i < 3; i++) {
        int number = i == 0 ? first : i == 1 ? second : third;
        if (number)
            sigdelset(&set, number);
    }
    pthread_sigmask(SIG_SETMASK, &set, 0);
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&action.sa_mask);
    if (sigaction(number, &action, 0) != 0)
        die("sigaction");
}
#endif
