/* Calls through a bad function pointer. The argument says where to: null, wild, data, heap, jit. */
#define _GNU_SOURCE
#include "chain.h"
#include <string.h>
#include <stdlib.h>
#include <sys/mman.h>

typedef int (*action)(int);

/* `ret`, in memory that may not be executed. */
unsigned char payload[16] = {0xc3, 0xc3, 0xc3, 0xc3};

NOINLINE int call_action(action act, int n)
{
    return act(n) + 1; /* CALL */
}

NOINLINE int dispatch(action act, int n)
{
    return call_action(act, n) + 1;
}

NOINLINE action choose(const char *where)
{
    /* xor eax,eax; mov eax,[rax]; ret: generated code that reads null and has neither symbol nor unwind rule. */
    static const unsigned char code[] = {0x31, 0xc0, 0x8b, 0x00, 0xc3};
    if (strcmp(where, "wild") == 0)
        return (action)0x123456789000;
    if (strcmp(where, "data") == 0)
        return (action)(void *)payload;
    if (strcmp(where, "heap") == 0)
        return (action)memset(malloc(64), 0xc3, 64);
    if (strcmp(where, "jit") == 0) {
        void *page = mmap((void *)FIXED_PLACE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        memcpy(page, code, sizeof code);
        return (action)page;
    }
    return 0;
}

int main(int argc, char **argv)
{
    return dispatch(choose(argc > 1 ? argv[1] : "null"), argc) + 1;
}
