/* Built with -O2: the failing branch of handle_request is moved to another section (handle_request.cold), so the
   function is not one range of addresses. */
#include "chain.h"

extern volatile int errors;
volatile int errors;

__attribute__((cold, noinline)) int report_error(int code)
{
    errors += code;
    return code;
}

NOINLINE int handle_request(int *slot, int code)
{
    if (__builtin_expect(code > 0, 0)) {
        errors = code;
        errors = report_error(code) + 1;
        *(volatile int *)slot = errors; /* CRASH */
        errors = report_error(code + 1);
    }
    return code + 1;
}

int main(int argc, char **argv)
{
    (void)argv;
    return handle_request(0, argc) + 1;
}
