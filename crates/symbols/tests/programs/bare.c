/* No library at all: calls that save registers and the return address. */
int leaf(int n) { return n * 3; }

__attribute__((noinline)) int inner(int n, int (*f)(int)) {
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += f(i) + f(sum);
    return sum;
}

__attribute__((noinline)) int outer(int n) {
    return inner(n, leaf) + inner(n + 1, leaf);
}
