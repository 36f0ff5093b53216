/* A child kills its parent, which waits and has done nothing wrong: the argument names the signal, abrt or segv.
   With segv the bytes of the sender's pid lie where another SIGSEGV has its fault address. */
#include "chain.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Until the parent sleeps in pause(), its stack is not the one that is expected. */
static int parent_sleeps(void)
{
    char path[64], line[256] = {0};
    snprintf(path, sizeof path, "/proc/%d/stat", getppid());
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    (void)!read(fd, line, sizeof line - 1);
    close(fd);
    char *end = strrchr(line, ')');
    return end && strncmp(end, ") S", 3) == 0;
}

NOINLINE int wait_for_work(int ready)
{
    (void)!write(ready, "r", 1);
    pause(); /* CALL */
    return ready;
}

NOINLINE int serve(int ready)
{
    return wait_for_work(ready) + 1;
}

int main(int argc, char **argv)
{
    int signal = argc > 1 && strcmp(argv[1], "segv") == 0 ? SIGSEGV : SIGABRT;
    int ready[2];
    char byte;
    if (pipe(ready) != 0)
        return 2;
    pid_t child = fork();
    if (child == 0) {
        (void)!read(ready[0], &byte, 1);
        while (!parent_sleeps())
            usleep(1000);
        kill(getppid(), signal);
        _exit(0);
    }
    printf("sender %d\n", child);
    fflush(stdout);
    return serve(ready[1]) + 1;
}
