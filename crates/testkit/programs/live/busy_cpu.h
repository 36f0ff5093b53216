/*
 * Registers: all vectors, the x87 stack, control words, flags, general registers and the red zone are given known
 * values, held for some hundred microseconds, and looked at again.
 *
 * *Trap*: the compiler must not see it, so the holding is assembly; a signal frame would be built below the red zone,
 * and only somebody who writes at the stack pointer by himself changes it.
 */
#ifndef BUSY_CPU_H
#define BUSY_CPU_H
#include "busy.h"

struct state {
    uint8_t vectors[32][64];
    double x87[8];
    uint64_t general[13];
    uint64_t red_zone[16];
    uint64_t masks[8];
    uint64_t flags;
    uint32_t mxcsr;
    uint16_t control;
};
_Static_assert(sizeof(double) == 8 && __builtin_offsetof(struct state, x87) == 2048, "the assembly counts on it");
_Static_assert(__builtin_offsetof(struct state, general) == 2112, "the assembly counts on it");
_Static_assert(__builtin_offsetof(struct state, red_zone) == 2216, "the assembly counts on it");
_Static_assert(__builtin_offsetof(struct state, masks) == 2344, "the assembly counts on it");
_Static_assert(__builtin_offsetof(struct state, flags) == 2408, "the assembly counts on it");
_Static_assert(__builtin_offsetof(struct state, mxcsr) == 2416, "the assembly counts on it");
_Static_assert(__builtin_offsetof(struct state, control) == 2420, "the assembly counts on it");

/* rdi: what to load, rsi: where to store, rdx: how often to go round. */
void hold_sse(const struct state *in, struct state *out, long rounds);
void hold_avx(const struct state *in, struct state *out, long rounds);
void hold_avx512(const struct state *in, struct state *out, long rounds);

#define LOAD(op, kind, n) op " " #n "*64(%rdi), %" kind #n "\n"
#define STORE(op, kind, n) op " %" kind #n ", " #n "*64(%rsi)\n"
#define LOW(what, op, kind)                                                                                            \
    what(op, kind, 0) what(op, kind, 1) what(op, kind, 2) what(op, kind, 3) what(op, kind, 4) what(op, kind, 5)        \
        what(op, kind, 6) what(op, kind, 7) what(op, kind, 8) what(op, kind, 9) what(op, kind, 10) what(op, kind, 11)  \
            what(op, kind, 12) what(op, kind, 13) what(op, kind, 14) what(op, kind, 15)
#define HIGH(what, op, kind)                                                                                           \
    what(op, kind, 16) what(op, kind, 17) what(op, kind, 18) what(op, kind, 19) what(op, kind, 20) what(op, kind, 21)  \
        what(op, kind, 22) what(op, kind, 23) what(op, kind, 24) what(op, kind, 25) what(op, kind, 26)                 \
            what(op, kind, 27) what(op, kind, 28) what(op, kind, 29) what(op, kind, 30) what(op, kind, 31)
#define MASK_IN(n) "kmovq 2344+" #n "*8(%rdi), %k" #n "\n"
#define MASK_OUT(n) "kmovq %k" #n ", 2344+" #n "*8(%rsi)\n"
#define MASKS(what) what(0) what(1) what(2) what(3) what(4) what(5) what(6) what(7)
#define GENERAL(what)                                                                                                  \
    what(0, "rax") what(1, "rbx") what(2, "rbp") what(3, "r8") what(4, "r9") what(5, "r10") what(6, "r11")             \
        what(7, "r12") what(8, "r13") what(9, "r14") what(10, "r15") what(11, "rdx")
#define REGISTER_IN(n, name) "mov 2112+" #n "*8(%rdi), %" name "\n"
#define REGISTER_OUT(n, name) "mov %" name ", 2112+" #n "*8(%rsi)\n"

#define HOLDER(name, load, store)                                                                                      \
    __asm__(".text\n.globl " name "\n.type " name ",@function\n" name ":\n"                                            \
            "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"                                       \
            "mov %rdx, %rcx\n" load "fninit\nfldcw 2420(%rdi)\nldmxcsr 2416(%rdi)\n"                                   \
            ".set i, 7\n.rept 8\nfldl 2048+i*8(%rdi)\n.set i, i-1\n.endr\n"                                            \
            ".set i, 0\n.rept 16\nmov 2216+i*8(%rdi), %rax\nmov %rax, -128+i*8(%rsp)\n.set i, i+1\n.endr\n"            \
            GENERAL(REGISTER_IN)                                                                                       \
            /* dec leaves the carry flag alone; lea would leave all. */                                                \
            "std\nstc\n"                                                                                               \
            "1: dec %rcx\njnz 1b\n"                                                                                    \
            GENERAL(REGISTER_OUT)                                                                                      \
            ".set i, 0\n.rept 16\nmov -128+i*8(%rsp), %rax\nmov %rax, 2216+i*8(%rsi)\n.set i, i+1\n.endr\n"            \
            "pushfq\npop %rax\nmov %rax, 2408(%rsi)\ncld\n"                                                            \
            ".set i, 0\n.rept 8\nfstpl 2048+i*8(%rsi)\n.set i, i+1\n.endr\n"                                           \
            "fnstcw 2420(%rsi)\nstmxcsr 2416(%rsi)\n" store                                                            \
            "push $0x1f80\nldmxcsr (%rsp)\npop %rax\nfninit\n"                                                         \
            "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n")

HOLDER("hold_sse", LOW(LOAD, "movdqu", "xmm"), LOW(STORE, "movdqu", "xmm"));
HOLDER("hold_avx", LOW(LOAD, "vmovdqu", "ymm"), LOW(STORE, "vmovdqu", "ymm") "vzeroupper\n");
HOLDER("hold_avx512", LOW(LOAD, "vmovdqu64", "zmm") HIGH(LOAD, "vmovdqu64", "zmm") MASKS(MASK_IN),
       LOW(STORE, "vmovdqu64", "zmm") HIGH(STORE, "vmovdqu64", "zmm") MASKS(MASK_OUT) "vzeroupper\n");

static __thread uint64_t own_mark;

static void *hold_registers(void *which)
{
    struct part *own = part("registers");
    struct state in, out;
    uint64_t seed = 0x9e3779b97f4a7c15u + (uintptr_t)which;
    int wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    int middle = __builtin_cpu_supports("avx");
    size_t count = wide ? 32 : 16, width = wide ? 64 : middle ? 32 : 16;
    open_to(0, 0, 0);
    own_mark = seed;
    for (uint64_t mark = seed;; beat(own)) {
        memset(&in, 0, sizeof in);
        memset(&out, 0, sizeof out);
        for (size_t i = 0; i < sizeof in.vectors / 8; i++)
            memcpy((char *)in.vectors + i * 8, &(uint64_t){seed = mix(seed)}, 8);
        for (int i = 0; i < 8; i++) {
            in.x87[i] = (double)(seed >> 40) + i * 0.5;
            in.masks[i] = seed = mix(seed);
        }
        for (int i = 0; i < 12; i++)
            in.general[i] = seed = mix(seed);
        for (int i = 0; i < 16; i++)
            in.red_zone[i] = seed = mix(seed);
        in.mxcsr = 0x7f80;  /* rounds to zero */
        in.control = 0x077f; /* rounds down */
        (wide ? hold_avx512 : middle ? hold_avx : hold_sse)(&in, &out, 1000000);
        for (size_t i = 0; i < count; i++)
            if (memcmp(in.vectors[i], out.vectors[i], width) != 0)
                harm(VECTOR_CHANGED, (long)i);
        if (wide && memcmp(in.masks, out.masks, sizeof in.masks) != 0)
            harm(MASK_REGISTER_CHANGED, 0);
        if (memcmp(in.x87, out.x87, sizeof in.x87) != 0 || in.control != out.control)
            harm(X87_CHANGED, out.control);
        if (in.mxcsr != out.mxcsr)
            harm(MXCSR_CHANGED, out.mxcsr);
        for (int i = 0; i < 12; i++)
            if (in.general[i] != out.general[i])
                harm(REGISTER_CHANGED, i);
        if (memcmp(in.red_zone, out.red_zone, sizeof in.red_zone) != 0)
            harm(RED_ZONE_CHANGED, 0);
        /* Carry and direction were set, and dec to zero sets the zero flag. */
        if ((out.flags & 0x441) != 0x441)
            harm(FLAGS_CHANGED, (long)out.flags);
        if (own_mark != mark)
            harm(TLS_CHANGED, 0);
        nap(300000);
    }
    return 0;
}
#endif
