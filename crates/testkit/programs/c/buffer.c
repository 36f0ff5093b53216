/* Copies too much into a small buffer. Built with a stack protector, with _FORTIFY_SOURCE, or with neither: then the
   return address itself is overwritten and the `ret` faults. */
#include "chain.h"
#include <string.h>

NOINLINE int parse_line(const char *line)
{
    char buffer[16];
#ifdef UNCHECKED
    static int i; /* on the stack it would be overwritten too */
    for (i = 0; i < 64; i++)
        ((volatile char *)buffer)[i] = line[i];
#else
    strcpy(buffer, line); /* CALL */
#endif
    return buffer[0];
} /* RETURN */

NOINLINE int parse_file(const char *text)
{
    return parse_line(text) + 1;
}

NOINLINE int handle_request(const char *text)
{
    return parse_file(text) + 1;
}

int main(int argc, char **argv)
{
    char text[128];
    (void)argv;
    memset(text, 0x40 + argc, sizeof text - 1);
    text[sizeof text - 1] = 0;
    return handle_request(text) + 1;
}
