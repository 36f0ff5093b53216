/*
 * A program that is busy in every way that a picture of it could disturb, and knows when it was disturbed.
 *
 *   busy [--seccomp errno|kill] [--altstack] [--stopped] [--memory SIZE] [--deadline SECONDS]
 *
 * Commands: `check` (a verdict; work goes on), `hold` (all that sends, forks and maps rests; the picture from outside
 * is then comparable), `go`, `quit` (a last verdict, and exit status 0 for no harm, 1 for harm).
 *
 * Trap: nothing is allocated after `ready`, so that the mappings under `hold` are always the same.
 */
#include "busy.h"
#include "busy_cpu.h"
#include "busy_memory.h"
#include "busy_seccomp.h"
#include "busy_signals.h"
#include "busy_waits.h"

static void hold_all(void)
{
    atomic_store(&hold, 1);
    for (uint64_t begin = now(); atomic_load(&resting) < atomic_load(&resters);) {
        if (now() - begin > 20000000000u) {
            harm(STUCK, -1);
            break;
        }
        nap(200000);
    }
}

static void go_on(void)
{
    atomic_store(&hold, 0);
    while (atomic_load(&resting) > 0)
        nap(200000);
}

/* Waits, long, for a thing that comes soon: what is late is no harm, what never comes is. */
static int comes(int (*condition)(void))
{
    for (uint64_t begin = now(); now() - begin < 10000000000u; nap(500000))
        if (condition())
            return 1;
    return 0;
}

static int all_have_moved(void)
{
    for (int i = 0; i < atomic_load(&part_count); i++)
        if (atomic_load(&parts[i].beats) == parts[i].seen)
            return 0;
    return 1;
}

static int queue_is_empty(void)
{
    return atomic_load(&queue_got) == atomic_load(&queue_sent);
}

static int timer_is_right(void)
{
    long missing = timer_missing();
    return missing >= -1 && missing <= 2;
}

static int timerfd_is_right(void)
{
    long missing = timerfd_missing();
    return missing >= -1 && missing <= 2;
}

/* Looks at everything that needs no rest of the others. */
static void look(void)
{
    for (int i = 0; i < atomic_load(&part_count); i++)
        parts[i].seen = atomic_load(&parts[i].beats);
    if (!comes(all_have_moved))
        for (int i = 0; i < atomic_load(&part_count); i++)
            if (atomic_load(&parts[i].beats) == parts[i].seen)
                harm(STUCK, i);
    hold_all();
    if (!comes(queue_is_empty))
        harm(QUEUE_ORDER, atomic_load(&queue_got) - atomic_load(&queue_sent));
    if (!comes(timer_is_right))
        harm(TIMER_LOST, timer_missing());
    if (!comes(timerfd_is_right))
        harm(TIMERFD_LOST, timerfd_missing());
    go_on();
}

static int verdict(void)
{
    int bad = 0;
    printf("{\"harm\":{");
    for (int i = 0; i < HARM_COUNT; i++) {
        unsigned long count = atomic_load(&harms[i].count);
        if (count == 0)
            continue;
        printf("%s\"%s\":{\"count\":%lu,\"detail\":%ld,\"what\":\"%s\"}", bad++ ? "," : "", harm_name[i], count,
               atomic_load(&harms[i].detail), harm_text[i]);
    }
    printf("},\"beats\":{");
    for (int i = 0; i < atomic_load(&part_count); i++)
        printf("%s\"%s %d\":%lu", i ? "," : "", parts[i].name, i, atomic_load(&parts[i].beats));
    printf("},\"timer\":%lu,\"queued\":%ld}\n", atomic_load(&timer_seen), atomic_load(&queue_got));
    return bad;
}

int main(int argc, char **argv)
{
    const char *seccomp = option(argc, argv, "--seccomp");
    unsigned long memory = number(argc, argv, "--memory", 4ul << 20);
    char line[64];
    sigset_t ends;
    deadline(argc, argv);
    open_to(0, 0, 0);
    /* Something to write, besides the threads' own. */
    uint64_t *extra = mmap(0, memory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (extra == MAP_FAILED)
        die("mmap");
    for (size_t i = 0; i < memory / 8; i += PAGE / 8)
        extra[i] = i;

    start_memory(!seccomp);
    start_signals();
    start_waits();
    start(hold_registers, (void *)1);
    start(hold_registers, (void *)2);
    if (flag(argc, argv, "--altstack")) {
        handle(SIGUSR2, on_alternate, SA_ONSTACK | SA_RESTART);
        start(use_altstack, 0);
    }
    while (!all_have_moved())
        nap(1000000);
    if (seccomp)
        (strcmp(seccomp, "kill") == 0 ? kill_most : refuse_some)();
    sigemptyset(&ends);
    int enders[] = {SIGALRM, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCONT, SIGTSTP};
    for (size_t i = 0; i < sizeof enders / sizeof *enders; i++)
        sigaddset(&ends, enders[i]);
    pthread_sigmask(SIG_UNBLOCK, &ends, 0);

    printf("{\"ready\":true,\"pid\":%d,\"threads\":%d}\n", getpid(), atomic_load(&part_count) + 1);
    fflush(stdout);
    if (flag(argc, argv, "--stopped"))
        kill(getpid(), SIGSTOP);
    while (command(line, sizeof line)) {
        if (strcmp(line, "check") == 0) {
            look();
            verdict();
        } else if (strcmp(line, "hold") == 0) {
            hold_all();
            printf("{\"held\":true}\n");
        } else if (strcmp(line, "go") == 0) {
            go_on();
            printf("{\"held\":false}\n");
        } else if (strcmp(line, "quit") == 0) {
            look();
            int bad = verdict();
            fflush(stdout);
            _exit(bad ? 1 : 0);
        }
    }
    return 2;
}
