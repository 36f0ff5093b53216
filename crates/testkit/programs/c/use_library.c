/* Calls into a linked shared library, which dies ("?"), or which calls back into the program, which dies ("!"). */
#include "chain.h"

int parse_document(const char *text, int (*on_error)(int));

NOINLINE int show_error(int code)
{
    volatile int *screen = 0;
    return screen[code]; /* CRASH */
}

NOINLINE int load_page(const char *text)
{
    return parse_document(text, show_error) + 1;
}

int main(int argc, char **argv)
{
    return load_page(argc > 1 ? argv[1] : "?") + 1;
}
