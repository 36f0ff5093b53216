/*
 * A parent and its child that watch each other, to tell whether both were caught at one instant.
 *
 * The parent counts in shared memory and keeps the number of its own beside it; the child writes down the number that
 * it sees, in its own memory and as its answer in the shared memory; the parent writes that down. So at one instant
 * the shared page is the same in both, neither has seen what the other has not yet done, and
 * `answered` (parent) <= `seen` (child) <= `counted` (shared).
 *
 *   pair [--deadline SECONDS]
 *
 * Trap: the addresses are the same in both processes, because one is the other's copy.
 */
#include "live.h"

static struct shared {
    volatile uint64_t counted;
    volatile uint64_t answer;
} *shared;
static volatile uint64_t counted, answered, seen;

static void *count_up(void *unused)
{
    (void)unused;
    for (uint64_t n = 1;; n++) {
        shared->counted = n;
        counted = n;
        answered = shared->answer;
    }
    return 0;
}

int main(int argc, char **argv)
{
    char line[64];
    deadline(argc, argv);
    shared = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        die("mmap");
    pid_t parent = getpid(), child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm((unsigned)number(argc, argv, "--deadline", 600));
        while (getppid() == parent) {
            for (int i = 0; i < 1000; i++) {
                seen = shared->counted;
                shared->answer = seen;
            }
        }
        _exit(0);
    }
    start(count_up, 0);
    while (!answered)
        nap(1000000);
    printf("{\"ready\":true,\"pid\":%d,\"child\":%d,\"shared\":%lu,\"counted\":%lu,\"answered\":%lu,\"seen\":%lu}\n", parent,
           child, (unsigned long)shared, (unsigned long)&counted, (unsigned long)&answered, (unsigned long)&seen);
    while (command(line, sizeof line)) {
        if (strcmp(line, "quit") == 0) {
            kill(child, SIGKILL);
            _exit(waitpid(child, 0, 0) == child ? 0 : 1);
        }
        int status;
        pid_t gone = waitpid(child, &status, WNOHANG);
        printf("{\"child_lives\":%s,\"counted\":%lu,\"seen\":%lu}\n", gone == 0 ? "true" : "false", counted,
               (unsigned long)shared->answer);
    }
    return 2;
}
