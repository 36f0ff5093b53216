/* Ends itself through the C library: "abort", "assert", "quit" (raises SIGQUIT), "kill" (sends itself SIGSEGV). */
#include "chain.h"
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

NOINLINE int give_up(int code)
{
    if (code > 0)
        abort(); /* CALL:abort */
    return code;
}

NOINLINE int check_count(int count)
{
    assert(count > 100 && "too few"); /* CALL:assert */
    return count;
}

NOINLINE int raise_quit(int count)
{
    raise(SIGQUIT); /* CALL:quit */
    return count;
}

NOINLINE int kill_self(int count)
{
    kill(getpid(), SIGSEGV); /* CALL:kill */
    return count;
}

NOINLINE int check_limits(const char *how, int count)
{
    if (strcmp(how, "assert") == 0)
        return check_count(count) + 1;
    if (strcmp(how, "quit") == 0)
        return raise_quit(count) + 1;
    if (strcmp(how, "kill") == 0)
        return kill_self(count) + 1;
    return give_up(count) + 1;
}

int main(int argc, char **argv)
{
    return check_limits(argc > 1 ? argv[1] : "abort", argc) + 1;
}
