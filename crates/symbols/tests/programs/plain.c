/* Statics, inlined calls, a function pointer, a variable-length array. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline __attribute__((always_inline)) int inner(int n) {
    return rand() + n;
}

static __attribute__((noinline)) int middle(int n) {
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += inner(i);
    return sum;
}

__attribute__((noinline)) int with_array(int n, const char *text) {
    char copy[n + 16];
    strncpy(copy, text, (size_t)n);
    copy[n] = 0;
    return (int)strlen(copy) + middle(n);
}

int main(int argc, char **argv) {
    int (*call)(int, const char *) = with_array;
    printf("%d\n", call(argc, argv[0]));
    return 0;
}
