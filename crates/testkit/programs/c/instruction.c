/* Meets an instruction that ends the program: "undefined", "trap" (ud2), "breakpoint" (int3), "privileged" (hlt). */
#include "chain.h"
#include <string.h>

NOINLINE int run_undefined(int n)
{
    __asm__ volatile("nop; .byte 0x06"); /* CRASH:undefined */
    return n;
}

NOINLINE int run_trap(int n)
{
    if (n >= 0)
        __builtin_trap(); /* CRASH:trap */
    return n;
}

NOINLINE int run_breakpoint(int n)
{
    __asm__ volatile("int3; nop"); /* CRASH:breakpoint */
    return n;
}

NOINLINE int run_privileged(int n)
{
    __asm__ volatile("hlt"); /* CRASH:privileged */
    return n;
}

NOINLINE int step(const char *how, int n)
{
    if (strcmp(how, "undefined") == 0)
        return run_undefined(n) + 1;
    if (strcmp(how, "trap") == 0)
        return run_trap(n) + 1;
    if (strcmp(how, "privileged") == 0)
        return run_privileged(n) + 1;
    return run_breakpoint(n) + 1;
}

NOINLINE int interpret(const char *how)
{
    return step(how, 3) + 1;
}

int main(int argc, char **argv)
{
    return interpret(argc > 1 ? argv[1] : "breakpoint") + 1;
}
