/* No C library at all: also builds where only the compiler, and no library, of the 32-bit machine is installed. */
#include "chain.h"

NOINLINE int read_field(const volatile int *record)
{
    return record[4]; /* CRASH */
}

NOINLINE int lookup(int key)
{
    return read_field(key > 100 ? &key : 0) + 1;
}

NOINLINE int handle_request(int key)
{
    return lookup(key) + 1;
}

void _start(void)
{
    handle_request(1);
    for (;;)
        ;
}
