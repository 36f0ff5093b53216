/* Reads null at the end of 20 000 live frames: far too many to print, and no overflow. */
#include "chain.h"

NOINLINE int read_leaf(const volatile int *leaf)
{
    return *leaf; /* CRASH */
}

NOINLINE int walk_tree(int depth)
{
    if (depth == 0)
        return read_leaf(0) + 1;
    return walk_tree(depth - 1) + 1;
}

int main(int argc, char **argv)
{
    (void)argv;
    return walk_tree(20000 - 1 + argc) + 1;
}
