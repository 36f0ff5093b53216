// Ends by exception, or by what the C++ runtime does in place of one; the argument says which.
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#define NOINLINE __attribute__((noinline))

namespace store {

// Not derived from std::exception: there is no what().
struct broken_page {
    int number;
};

struct engine {
    NOINLINE int read(int key)
    {
        if (key > 0)
            throw std::runtime_error("page 7 has a bad checksum"); // CALL:runtime
        return key;
    }
};

NOINLINE int read_page(int number)
{
    if (number > 0)
        throw broken_page{number}; // CALL:custom
    return number;
}

NOINLINE int stop(int code)
{
    if (code > 0)
        std::terminate(); // CALL:terminate
    return code;
}

NOINLINE int allocate(std::size_t size)
{
    char *block = new char[size]; // CALL:bad_alloc
    block[0] = 1;
    return block[0];
}

NOINLINE int pick(const std::vector<int> &rows, std::size_t at)
{
    return rows.at(at); // CALL:at
}

// The exception meets noexcept here, one frame above the function that threw.
NOINLINE int close(int number) noexcept
{
    return read_page(number) + 1;
}

NOINLINE int query(const char *how, int key)
{
    engine e;
    std::vector<int> rows(3);
    if (std::strcmp(how, "custom") == 0)
        return read_page(key) + 1;
    if (std::strcmp(how, "terminate") == 0)
        return stop(key) + 1;
    if (std::strcmp(how, "bad_alloc") == 0)
        return allocate(std::size_t(1) << 60) + 1;
    if (std::strcmp(how, "at") == 0)
        return pick(rows, 7) + 1;
    if (std::strcmp(how, "noexcept") == 0)
        return close(key) + 1;
    return e.read(key) + 1;
}

} // namespace store

int main(int argc, char **argv)
{
    return store::query(argc > 1 ? argv[1] : "runtime", argc) + 1;
}
