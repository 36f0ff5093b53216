/* Built with -O2: read_field and lookup have no frame of their own, only the line tables know that they were there. */
#include "chain.h"

struct record {
    struct record *next;
    int value;
};

static inline __attribute__((always_inline)) int read_field(const volatile struct record *record)
{
    return record->value; /* CRASH */
}

static inline __attribute__((always_inline)) int lookup(const struct record *records, int key)
{
    while (key-- > 0)
        records = records->next;
    return read_field(records) + 1;
}

NOINLINE int handle_request(const struct record *records, int key)
{
    return lookup(records, key) + 1;
}

int main(int argc, char **argv)
{
    struct record last = {0, 1}, first = {&last, 2};
    (void)argv;
    return handle_request(&first, argc + 1) + 1;
}
