// Indexes a vector past its end, with the checks of libstdc++ switched on: prints an assertion and aborts.
#include <vector>

#define NOINLINE __attribute__((noinline))

NOINLINE int pick(const std::vector<int> &rows, std::size_t at)
{
    return rows[at]; // CALL
}

NOINLINE int sum(std::size_t count)
{
    std::vector<int> rows(3);
    return pick(rows, count + 6) + 1;
}

int main(int argc, char **)
{
    return sum(std::size_t(argc)) + 1;
}
