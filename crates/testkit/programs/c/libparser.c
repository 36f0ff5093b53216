/* The shared library of use_library.c and plugin_host.c. */
#include "chain.h"

NOINLINE int parse_token(const volatile char *token)
{
    return *token; /* CRASH */
}

int parse_document(const char *text, int (*on_error)(int))
{
    int kind = text[0] == '!' ? on_error(text[1]) : parse_token(text[0] == '?' ? 0 : text);
    return kind + 1;
}
