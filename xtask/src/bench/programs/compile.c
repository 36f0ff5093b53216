/* Something for a compiler to do: it is compiled and never run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ONE(n)                                                                                              \
    double f##n(double *a, int count)                                                                       \
    {                                                                                                       \
        double sum = n;                                                                                     \
        for (int i = 1; i < count; i++)                                                                     \
            for (int j = i; j < count; j += i)                                                              \
                sum += a[i] * a[j] > n ? sqrt(fabs(a[j])) : memcmp(a, a + i, sizeof *a) ? a[i] : strlen("" #n); \
        return sum;                                                                                         \
    }
#define TEN(n) ONE(n##0) ONE(n##1) ONE(n##2) ONE(n##3) ONE(n##4) ONE(n##5) ONE(n##6) ONE(n##7) ONE(n##8) ONE(n##9)
TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8)
