/* Computes for about half a second and makes no system call meanwhile. */
#include <stdio.h>

int main(void)
{
    unsigned long sum = 1;
    for (unsigned long i = 0; i < 400000000; i++)
        sum = sum * 6364136223846793005u + i;
    printf("%lu\n", sum);
    return 0;
}
