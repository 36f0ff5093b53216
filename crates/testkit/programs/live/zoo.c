/*
 * Holds one of every kind of mapping, with marks, and says where each is and what a dump must hold of it.
 *
 *   zoo [--reserve SIZE] [--deadline SECONDS]
 *
 * `active` is what a dump of the usual kind must say about the marks: `present`, `absent` (left out on purpose, so that
 * it must not be in the file), `zero` (reads as zeros), or `either`. `cost` is how many bytes of the file it may take.
 * Where the kernel does not allow a kind, `missing` says why.
 *
 * Trap: a mark is computed from its address, so that the program's own text and data do not hold it a second time.
 */
#include "live.h"
#include <fcntl.h>

static int count;
static uint64_t base_mark;

static uint64_t mark_of(const void *at)
{
    return mix(mix((uint64_t)(uintptr_t)at ^ base_mark)) | 1;
}

static void put(void *at)
{
    *(volatile uint64_t *)at = mark_of(at);
}

static void describe(const char *name, const void *start, unsigned long length, const char *active, unsigned long step)
{
    int marks = 0;
    printf("%s{\"name\":\"%s\",\"start\":%lu,\"length\":%lu,\"active\":\"%s\",\"marks\":[", count++ ? "," : "", name,
           (unsigned long)start, length, active);
    for (unsigned long at = 0; step && at < length; at += step) {
        const char *place = (const char *)start + at;
        printf("%s[%lu,%lu]", marks++ ? "," : "", (unsigned long)place, mark_of(place));
    }
    printf("]}");
}

static void missing(const char *name)
{
    printf("%s{\"name\":\"%s\",\"missing\":\"%s\",\"start\":0,\"length\":0,\"active\":\"either\",\"marks\":[]}",
           count++ ? "," : "", name, strerror(errno));
}

static char *anonymous(unsigned long length, int protection, int kind)
{
    char *start = mmap(0, length, protection, kind | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        die("mmap");
    /* A hole beside each, so that no two become one mapping. */
    mmap(0, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return start;
}

static char *marked(unsigned long length, unsigned long step, int kind)
{
    char *start = anonymous(length, PROT_READ | PROT_WRITE, kind);
    madvise(start, length, MADV_NOHUGEPAGE);
    for (unsigned long at = 0; at < length; at += step)
        put(start + at);
    return start;
}

/* A file with marks of its own place in every page, mapped. */
static char *file(const char *what, unsigned long length, int kind, int *descriptor)
{
    char name[64];
    snprintf(name, sizeof name, "zoo-%s-%d", what, getpid());
    int end = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (end < 0 || ftruncate(end, (off_t)length) != 0)
        die(name);
    char *start = mmap(0, length, PROT_READ | PROT_WRITE, kind, end, 0);
    if (start == MAP_FAILED)
        die("mmap of a file");
    for (unsigned long at = 0; at < length; at += PAGE) {
        uint64_t mark = mark_of(start + at);
        if (pwrite(end, &mark, sizeof mark, (off_t)at) != sizeof mark)
            die("write");
    }
    unlink(name);
    if (descriptor)
        *descriptor = end;
    return start;
}

static pthread_barrier_t deep;
static volatile uint64_t *deep_marks[4];
static __thread volatile uint64_t thread_local_mark;
static volatile uint64_t *local_marks[4];

NOINLINE static void down(long which, int levels)
{
    volatile uint64_t here[512];
    here[0] = mark_of((void *)here);
    if (levels > 0) {
        down(which, levels - 1);
    } else {
        deep_marks[which] = here;
        pthread_barrier_wait(&deep);
        while (here[0])
            pause();
    }
    here[1] = 0;
}

static void *dive(void *which)
{
    put((void *)&thread_local_mark);
    local_marks[(long)which] = &thread_local_mark;
    down((long)which, 12);
    return 0;
}

int main(int argc, char **argv)
{
    char line[64];
    volatile uint64_t on_stack;
    static uint64_t data;
    unsigned long reserve = number(argc, argv, "--reserve", 256ul << 30);
    deadline(argc, argv);
    base_mark = now() << 8;
    pthread_barrier_init(&deep, 0, 5);
    for (long i = 0; i < 4; i++)
        start(dive, (void *)i);
    pthread_barrier_wait(&deep);

    printf("{\"ready\":true,\"pid\":%d,\"mappings\":[", getpid());
    /* The reservation of a database or a collector: far more than there is memory, with a page here and there. */
    char *start = anonymous(reserve, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    madvise(start, reserve, MADV_NOHUGEPAGE);
    for (unsigned long at = 0; at < reserve; at += reserve / 256)
        put(start + at);
    describe("reserve", start, reserve, "present", reserve / 256);
    describe("reserve untouched", start + PAGE, PAGE, "zero", 0);
    describe("private", marked(64 * PAGE, PAGE, MAP_PRIVATE), 64 * PAGE, "present", PAGE);
    describe("shared anonymous", marked(64 * PAGE, PAGE, MAP_SHARED), 64 * PAGE, "present", PAGE);
    describe("none untouched", anonymous(1 << 20, PROT_NONE, MAP_PRIVATE), 1 << 20, "zero", 0);

    start = marked(16 * PAGE, PAGE, MAP_PRIVATE);
    mprotect(start, 16 * PAGE, PROT_NONE);
    describe("none touched", start, 16 * PAGE, "present", PAGE);
    start = marked(16 * PAGE, PAGE, MAP_PRIVATE);
    mprotect(start, 16 * PAGE, PROT_READ);
    describe("read-only", start, 16 * PAGE, "present", PAGE);
    start = marked(16 * PAGE, PAGE, MAP_PRIVATE);
    madvise(start, 16 * PAGE, MADV_DONTDUMP);
    describe("dontdump", start, 16 * PAGE, "absent", PAGE);
    start = marked(16 * PAGE, PAGE, MAP_PRIVATE);
    madvise(start, 16 * PAGE, MADV_DONTFORK);
    describe("dontfork", start, 16 * PAGE, "present", PAGE);
    start = marked(16 * PAGE, PAGE, MAP_PRIVATE);
    madvise(start, 16 * PAGE, MADV_WIPEONFORK);
    describe("wipeonfork", start, 16 * PAGE, "present", PAGE);

    start = anonymous(64ul << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    madvise(start, 64ul << 20, MADV_NOHUGEPAGE);
    for (unsigned long at = 0; at < 64ul << 20; at += PAGE)
        (void)*(volatile char *)(start + at);
    describe("zero page", start, 64ul << 20, "zero", 0);
    start = anonymous(16ul << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    memset(start, 0, 16ul << 20);
    describe("written zeros", start, 16ul << 20, "zero", 0);
    start = anonymous(8ul << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    madvise(start, 8ul << 20, MADV_HUGEPAGE);
    for (unsigned long at = 0; at < 8ul << 20; at += 1ul << 20)
        put(start + at);
    describe("transparent huge", start, 8ul << 20, "present", 1ul << 20);

    start = mmap(0, 2ul << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (start == MAP_FAILED) {
        missing("hugetlb");
    } else {
        put(start);
        put(start + (1ul << 20));
        /* Bit 5 of the usual filter (0x33) has private hugetlb pages. */
        describe("hugetlb", start, 2ul << 20, "present", 1ul << 20);
    }
    int end = memfd_create("zoo", MFD_CLOEXEC);
    if (end < 0 || ftruncate(end, 16 * PAGE) != 0)
        die("memfd");
    start = mmap(0, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, end, 0);
    for (unsigned long at = 0; at < 16 * PAGE; at += PAGE)
        put(start + at);
    describe("memfd", start, 16 * PAGE, "present", PAGE);
    end = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
    start = MAP_FAILED;
    if (end >= 0 && ftruncate(end, 4 * PAGE) == 0)
        start = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, end, 0);
    if (start == MAP_FAILED) {
        missing("memfd_secret");
    } else {
        put(start);
        describe("memfd_secret", start, 4 * PAGE, "absent", 4 * PAGE);
    }

    /* Marks of files stand in the files, so they may be in a dump or not: that is what its type says. */
    start = file("clean", 16 * PAGE, MAP_PRIVATE, 0);
    describe("file private clean", start, 16 * PAGE, "either", PAGE);
    start = file("written", 16 * PAGE, MAP_PRIVATE, 0);
    put(start + 2048);
    describe("file private written", start + 2048, 8, "present", 8);
    start = file("shared", 16 * PAGE, MAP_SHARED, 0);
    put(start);
    describe("file shared", start, 16 * PAGE, "either", PAGE);
    start = file("cut", 16 * PAGE, MAP_PRIVATE, &end);
    put(start + 2048);
    if (ftruncate(end, PAGE) != 0)
        die("cut");
    describe("file cut", start + 2048, 8, "present", 8);
    describe("file cut, behind its end", start + 8 * PAGE, PAGE, "zero", 0);

    put((void *)&on_stack);
    describe("main stack", (void *)&on_stack, 8, "present", 8);
    put(&data);
    describe("data", &data, 8, "present", 8);
    uint64_t *heap = malloc(4096);
    put(heap);
    describe("heap", heap, 8, "present", 8);
    for (int i = 0; i < 4; i++) {
        describe("thread stack", (void *)deep_marks[i], 8, "present", 8);
        describe("thread local", (void *)local_marks[i], 8, "present", 8);
    }
    printf("]}\n");
    while (command(line, sizeof line)) {
        if (strcmp(line, "quit") == 0)
            _exit(0);
        printf("{}\n");
    }
    return 2;
}
