/* Reads through a null pointer; the source of all the variants that differ only in how they are built. */
#include "chain.h"

struct record {
    int id;
    int value;
};

static const struct record table = {7, 8};

NOINLINE int read_field(const volatile struct record *record)
{
    return record->id; /* CRASH */
}

NOINLINE int lookup(const struct record *records, int key)
{
    const struct record *hit = key == 0 ? records : 0;
    return read_field(hit) + 1;
}

NOINLINE int handle_request(int key)
{
    return lookup(&table, key) + 1;
}

int main(int argc, char **argv)
{
    (void)argv;
    return handle_request(argc) + 1;
}
