/* Misuse of the heap that the C library finds: "double" frees a chunk twice, "top" overwrites the size of the top
   chunk, "next" that of a neighbour, "invalid" frees a pointer into the middle of a chunk. */
#include "chain.h"
#include <stdlib.h>
#include <string.h>

NOINLINE int free_twice(char *p)
{
    free(p);
    free(p); /* CALL:double */
    return 1;
}

NOINLINE int break_top(char *p)
{
    memset(p, 0x41, 24 + 8);
    return malloc(4096) != 0; /* CALL:top */
}

NOINLINE int break_next(char *p)
{
    char *neighbour = malloc(0x500);
    char *wall = malloc(24);
    memset(p, 0x41, 24 + 8);
    free(neighbour); /* CALL:next */
    return wall != 0;
}

NOINLINE int free_middle(char *p)
{
    free(p + 8); /* CALL:invalid */
    return 1;
}

NOINLINE int churn(const char *how)
{
    char *p = malloc(24);
    if (strcmp(how, "top") == 0)
        return break_top(p) + 1;
    if (strcmp(how, "next") == 0)
        return break_next(p) + 1;
    if (strcmp(how, "invalid") == 0)
        return free_middle(p) + 1;
    return free_twice(p) + 1;
}

NOINLINE int handle_request(const char *how)
{
    return churn(how) + 1;
}

int main(int argc, char **argv)
{
    return handle_request(argc > 1 ? argv[1] : "double") + 1;
}
