/* The call to abort is the very last instruction of give_up, so the return address is the first byte of `innocent`:
   who looks it up without stepping back one byte blames the wrong function. Built so that nothing stands between. */
#include "chain.h"
#include <stdlib.h>

volatile int last_code;

NOINLINE void give_up(int code)
{
    last_code = code;
    abort(); /* CALL */
}

NOINLINE int innocent(int code)
{
    return last_code + code;
}

NOINLINE int check_limits(int code)
{
    if (code > 0)
        give_up(code);
    return innocent(code) + 1;
}

int main(int argc, char **argv)
{
    (void)argv;
    return check_limits(argc) + 1;
}
