// An exception leaves the function of a second thread.
#include <stdexcept>
#include <thread>

#define NOINLINE __attribute__((noinline))

NOINLINE int fetch(int n)
{
    if (n > 0)
        throw std::logic_error("no such job"); // CALL
    return n;
}

NOINLINE int run_job(int n)
{
    return fetch(n) + 1;
}

NOINLINE void worker(int n)
{
    run_job(n);
}

int main(int argc, char **)
{
    std::thread thread(worker, argc);
    thread.join();
    return 0;
}
