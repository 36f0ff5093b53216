/* Touches pages that must not be touched: "munmap" reads a page already given back, "protnone" reads a guard page,
   "rodata" writes to a string constant, "readonly" writes to a page made read-only. */
#define _GNU_SOURCE
#include "chain.h"
#include <string.h>
#include <sys/mman.h>

static const char *const greeting = "hello, constant world";

NOINLINE int read_byte(const volatile char *at)
{
    return *at; /* CRASH:read */
}

NOINLINE int write_byte(volatile char *at)
{
    *at = 'H'; /* CRASH:write */
    return 0;
}

NOINLINE char *make_pages(void)
{
    char *pages = mmap((void *)FIXED_PLACE, 3 * 4096, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    memset(pages, 'x', 3 * 4096);
    return pages;
}

NOINLINE int use_pages(const char *how)
{
    char *pages = make_pages();
    if (strcmp(how, "munmap") == 0) {
        munmap(pages + 4096, 4096);
        return read_byte(pages + 4096 + 0x10) + 1;
    }
    if (strcmp(how, "protnone") == 0) {
        mprotect(pages + 4096, 4096, PROT_NONE);
        return read_byte(pages + 4096) + 1;
    }
    if (strcmp(how, "readonly") == 0) {
        mprotect(pages + 4096, 4096, PROT_READ);
        return write_byte(pages + 4096 + 0x20) + 1;
    }
    return write_byte((char *)greeting) + 1;
}

int main(int argc, char **argv)
{
    return use_pages(argc > 1 ? argv[1] : "rodata") + 1;
}
