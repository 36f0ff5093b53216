/* Crashes inside a signal handler, so that a signal frame lies in the middle of the stack: "plain" in a handler of
   SIGUSR1; "altstack" in a SIGSEGV handler, on the alternate signal stack, with the first fault below the signal frame. */
#define _GNU_SOURCE
#include "chain.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static volatile int *config;
static int *volatile table;

NOINLINE int read_config(void)
{
    return *config; /* CRASH:plain */
}

static void on_reload(int signal)
{
    config = 0;
    read_config();
    (void)signal;
}

NOINLINE int write_report(volatile long *at)
{
    *at = 1; /* CRASH:altstack */
    return 0;
}

static void on_fault(int signal)
{
    write_report((long *)0x123456789ab8);
    (void)signal;
}

NOINLINE int read_table(int key)
{
    return table[key];
}

NOINLINE int do_work(const char *how, int n)
{
    if (strcmp(how, "altstack") == 0)
        return read_table(n) + 1;
    raise(SIGUSR1);
    return n + 1;
}

int main(int argc, char **argv)
{
    struct sigaction plain = {.sa_handler = on_reload};
    struct sigaction alternate = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
    sigaltstack(&stack, 0);
    sigaction(SIGUSR1, &plain, 0);
    sigaction(SIGSEGV, &alternate, 0);
    if (argc < 2 || strcmp(argv[1], "altstack") != 0)
        alternate.sa_handler = SIG_DFL, sigaction(SIGSEGV, &alternate, 0);
    return do_work(argc > 1 ? argv[1] : "plain", argc) + 1;
}
