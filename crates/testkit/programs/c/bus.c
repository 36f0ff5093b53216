/* "past": reads a mapped file behind its end. "misaligned": reads an odd address with alignment checking on. */
#define _GNU_SOURCE
#include "chain.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

NOINLINE int read_record(const volatile char *file, long at)
{
    return file[at]; /* CRASH:past */
}

NOINLINE int scan_file(const char *file)
{
    return read_record(file, 4096 + 0x30) + 1;
}

NOINLINE int read_word(const volatile int *at)
{
#if defined(__x86_64__)
    /* The flags go below the red zone, where the compiler keeps locals. */
    __asm__ volatile("lea -128(%%rsp), %%rsp; pushf; orl $0x40000, (%%rsp); popf; lea 128(%%rsp), %%rsp" ::: "memory", "cc");
#endif
    return *at; /* CRASH:misaligned */
}

NOINLINE int parse_packet(const char *packet)
{
    return read_word((const int *)(packet + 1)) + 1;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "misaligned") == 0) {
        char *page = mmap((void *)FIXED_PLACE, 4096, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        return parse_packet(page) + 1;
    }
    FILE *file = fopen("records.dat", "w+");
    if (!file)
        return 2;
    fputs("only a few bytes", file);
    fflush(file);
    char *map = mmap((void *)FIXED_PLACE, 2 * 4096, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fileno(file), 0);
    return scan_file(map) + 1;
}
