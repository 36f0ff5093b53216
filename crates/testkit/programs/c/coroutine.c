/* Dies on a stack that is no thread's: a coroutine made with makecontext. */
#include "chain.h"
#include <stdlib.h>
#include <ucontext.h>

static ucontext_t main_context, task_context;

NOINLINE int read_message(const volatile int *message)
{
    return *message; /* CRASH */
}

NOINLINE int receive(int channel)
{
    return read_message(channel > 100 ? &channel : 0) + 1;
}

static void task(void)
{
    receive(3);
}

int main(void)
{
    getcontext(&task_context);
    task_context.uc_stack.ss_sp = malloc(65536);
    task_context.uc_stack.ss_size = 65536;
    task_context.uc_link = &main_context;
    makecontext(&task_context, task, 0);
    swapcontext(&main_context, &task_context);
    return 0;
}
