/*
 * Stamps a growing number through all its pages at full speed, so that a picture of two instants gives itself away.
 *
 *   generation [--private SIZE] [--shared SIZE] [--huge SIZE] [--watch SIZE] [--deadline SECONDS]
 *
 * One number tells everything: `position` = generation << 32 | index. The writer stores it, and then stamps its low and
 * high half into page `index`: generation at the first and at the last word, index at the second. So at any instant,
 * with position G, i: pages before i hold G, pages after i hold G - 1, and page i is being written, first word first.
 * The pages of all mappings take turns, so that a mapping read at another time than the others does not agree.
 *
 * The writer is one loop in assembly: register r12 is `position` or its successor; xmm7 and a thread-local variable
 * follow it, and are `position` or its predecessor. A second thread, `watch`, writes down the positions that it sees in
 * pages of its own: none may be later than `position`, or the picture has an effect before its cause.
 *
 * Trap: a pass over all pages must take much less time than a wrong picture would, else that holds one generation, too.
 */
#include "live.h"

static volatile uint64_t position;
static __thread volatile uint64_t local_position;
static uint64_t **pages;
static uint64_t page_count;
static volatile pid_t writer, watcher;
static volatile uint64_t *writer_local;
static atomic_int go;

struct region {
    const char *name;
    char *start;
    unsigned long length;
};
static struct region regions[3];
static int region_count;
static struct region watched;
static volatile uint64_t watch_cursor;

static void add(const char *name, unsigned long length, int kind, int huge)
{
    if (length == 0)
        return;
    /* 2 MiB of lead, so that huge pages can be. */
    unsigned long large = 2ul << 20;
    char *start = mmap(0, length + large, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        die("mmap");
    start = (char *)(((uintptr_t)start + large - 1) & ~(large - 1));
    madvise(start, length, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    regions[region_count++] = (struct region){name, start, length};
}

/* In the order of their names the regions give one page each, until all are out. */
static void deal(void)
{
    unsigned long total = 0, largest = 0;
    for (int i = 0; i < region_count; i++) {
        total += regions[i].length / PAGE;
        largest = regions[i].length > largest ? regions[i].length : largest;
    }
    pages = malloc(total * sizeof *pages);
    for (unsigned long at = 0; at < largest; at += PAGE)
        for (int i = 0; i < region_count; i++)
            if (at < regions[i].length)
                pages[page_count++] = (uint64_t *)(regions[i].start + at);
}

void stamp_forever(uint64_t **pages, uint64_t count, volatile uint64_t *position, uint64_t first,
                   volatile uint64_t *local);
__asm__(".text\n.globl stamp_forever\n.type stamp_forever,@function\nstamp_forever:\n"
        ".cfi_startproc\n"
        "mov %rcx, %r12\n"
        "1: mov %r12, (%rdx)\n"
        "movq %r12, %xmm7\n"
        "mov %r12, (%r8)\n"
        "mov %r12d, %eax\n"
        "mov (%rdi,%rax,8), %r9\n"
        "mov %r12, %r10\n"
        "shr $32, %r10\n"
        "mov %r10, (%r9)\n"
        "mov %rax, 8(%r9)\n"
        "mov %r10, 4088(%r9)\n"
        "inc %rax\n"
        "cmp %rsi, %rax\n"
        "je 2f\n"
        "inc %r12\n"
        "jmp 1b\n"
        /* The next generation, page 0, at once: the position has no state between. */
        "2: inc %r10\n"
        "shl $32, %r10\n"
        "mov %r10, %r12\n"
        "jmp 1b\n"
        ".cfi_endproc\n.size stamp_forever, .-stamp_forever\n");

static void *write_pages(void *unused)
{
    (void)unused;
    /* Generation 1 everywhere, so that every page has a predecessor. */
    for (uint64_t i = 0; i < page_count; i++) {
        pages[i][0] = pages[i][511] = 1;
        pages[i][1] = i;
    }
    position = 2ull << 32;
    writer = thread_id();
    writer_local = &local_position;
    local_position = position;
    while (!atomic_load(&go))
        nap(100000);
    stamp_forever(pages, page_count, &position, 2ull << 32, &local_position);
    return 0;
}

static void *write_down(void *unused)
{
    (void)unused;
    watcher = thread_id();
    while (!atomic_load(&go))
        nap(100000);
    for (uint64_t i = 0;; i = (i + 1) % (watched.length / 64)) {
        uint64_t *line = (uint64_t *)(watched.start + i * 64);
        line[0] = position;
        line[1] = i;
        watch_cursor = i;
    }
    return 0;
}

int main(int argc, char **argv)
{
    char line[64];
    deadline(argc, argv);
    add("private", number(argc, argv, "--private", 0), MAP_PRIVATE, 0);
    add("shared", number(argc, argv, "--shared", 0), MAP_SHARED, 0);
    add("huge", number(argc, argv, "--huge", 0), MAP_PRIVATE, 1);
    watched.length = number(argc, argv, "--watch", 64 * PAGE);
    watched.start = mmap(0, watched.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    deal();
    if (page_count == 0 || watched.start == MAP_FAILED)
        die("no pages");
    start(write_pages, 0);
    start(write_down, 0);
    while (!writer || !watcher)
        nap(100000);
    atomic_store(&go, 1);
    /* Two whole passes first, so that the start is over. */
    while (position >> 32 < 4)
        nap(1000000);

    printf("{\"ready\":true,\"pid\":%d,\"writer\":%d,\"watcher\":%d,\"position\":%lu,\"local\":%lu,\"watch\":%lu,"
           "\"watch_length\":%lu,\"regions\":[",
           getpid(), writer, watcher, (unsigned long)&position, (unsigned long)writer_local,
           (unsigned long)watched.start, watched.length);
    for (int i = 0; i < region_count; i++)
        printf("%s{\"name\":\"%s\",\"start\":%lu,\"length\":%lu}", i ? "," : "", regions[i].name,
               (unsigned long)regions[i].start, regions[i].length);
    printf("]}\n");
    while (command(line, sizeof line)) {
        if (strcmp(line, "check") == 0)
            printf("{\"generation\":%lu,\"index\":%lu}\n", (unsigned long)(position >> 32),
                   (unsigned long)(position & 0xffffffff));
        else if (strcmp(line, "quit") == 0)
            _exit(0);
    }
    return 2;
}
