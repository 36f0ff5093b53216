/* Computes while a timer sends a signal every millisecond. */
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;

static void tick(int number)
{
    (void)number;
    ticks++;
}

int main(void)
{
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, 1000}, {0, 1000}};
    unsigned long sum = 1;
    sigaction(SIGALRM, &action, 0);
    setitimer(ITIMER_REAL, &every, 0);
    for (unsigned long i = 0; i < 400000000; i++)
        sum = sum * 6364136223846793005u + i;
    printf("%lu, %d signals\n", sum, (int)ticks);
    return 0;
}
