/* The child of a fork dies; the parent waits for it and says how it ended (128 + signal). */
#include "chain.h"
#include <sys/wait.h>
#include <unistd.h>

NOINLINE int read_job(const volatile int *job)
{
    return *job; /* CRASH */
}

NOINLINE int run_job(int number)
{
    return read_job((const int *)(long)(number * 8)) + 1;
}

NOINLINE int child_main(int number)
{
    return run_job(number) + 1;
}

int main(void)
{
    pid_t child = fork();
    int status = 0;
    if (child == 0)
        _exit(child_main(2) + 1);
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : 0;
}
