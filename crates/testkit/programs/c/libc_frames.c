/* Frames of the C library among our own: "qsort" dies in a comparator that qsort calls, "memcpy" inside memcpy,
   "vdso" inside the kernel's vDSO. */
#include "chain.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct row {
    const int *key;
};

NOINLINE int compare_rows(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    return *left->key - *right->key; /* CRASH */
}

NOINLINE int sort_rows(struct row *rows, size_t count)
{
    qsort(rows, count, sizeof *rows, compare_rows); /* CALL:qsort */
    return 1;
}

NOINLINE int copy_name(char *to, const char *from, size_t size)
{
    memcpy(to, from, size); /* CALL:memcpy */
    return to[0];
}

NOINLINE int read_clock(struct timespec *at)
{
    return clock_gettime(CLOCK_REALTIME_COARSE, at); /* CALL:vdso */
}

NOINLINE int handle_request(const char *how, size_t size)
{
    static int one = 1;
    struct row rows[4] = {{&one}, {&one}, {0}, {&one}};
    char name[512];
    if (strcmp(how, "memcpy") == 0)
        return copy_name(name, (const char *)0x123456789ab0, size * 100) + 1;
    if (strcmp(how, "vdso") == 0)
        return read_clock((struct timespec *)0x123456789ab0) + 1;
    return sort_rows(rows, 4) + 1;
}

int main(int argc, char **argv)
{
    return handle_request(argc > 1 ? argv[1] : "qsort", (size_t)argc) + 1;
}
