/* "zero": divides by zero. "overflow": INT_MIN / -1. "float": a floating-point division with its trap switched on. */
#define _GNU_SOURCE
#include "chain.h"
#include <fenv.h>
#include <limits.h>
#include <string.h>

NOINLINE int divide(volatile int a, volatile int b)
{
    return a / b; /* CRASH:int */
}

NOINLINE int divide_floats(volatile double a, volatile double b)
{
    feenableexcept(FE_DIVBYZERO);
    return (int)(a / b); /* CRASH:float */
}

NOINLINE int average(const char *how, int sum, int count)
{
    if (strcmp(how, "float") == 0)
        return divide_floats(sum, count) + 1;
    if (strcmp(how, "overflow") == 0)
        return divide(INT_MIN, count - 1) + 1;
    return divide(sum, count) + 1;
}

NOINLINE int report(const char *how)
{
    return average(how, 100, 0) + 1;
}

int main(int argc, char **argv)
{
    return report(argc > 1 ? argv[1] : "zero") + 1;
}
