/* Reads or writes through a pointer full of rubbish: "read" and "write" at an address that is nowhere mapped,
   "poison" at one that no x86-64 processor can form (the bytes that freed memory is often filled with). */
#include "chain.h"
#include <string.h>

struct node {
    struct node *next;
    long value;
};

NOINLINE long read_node(const volatile struct node *node)
{
    return node->value; /* CRASH:read */
}

NOINLINE long write_node(volatile struct node *node, long value)
{
    node->value = value; /* CRASH:write */
    return value;
}

NOINLINE long walk_list(struct node *head, const char *how)
{
    if (strcmp(how, "write") == 0)
        return write_node(head->next, 42) + 1;
    return read_node(head->next) + 1;
}

NOINLINE long handle_request(const char *how)
{
    struct node head = {(struct node *)0x123456789ab0, 1};
    if (strcmp(how, "poison") == 0)
        head.next = (struct node *)0x6b6b6b6b6b6b6b6b;
    return walk_list(&head, how) + 1;
}

int main(int argc, char **argv)
{
    return (int)handle_request(argc > 1 ? argv[1] : "read") + 1;
}
