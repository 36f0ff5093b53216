// Inlined calls three deep, templates, anonymous namespaces, lambdas, local classes, extern "C", a cold path.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <vector>

namespace shapes {
namespace {
__attribute__((noinline)) int hidden(int n) { return n * 3 + std::rand(); }
}  // namespace

template <typename T>
struct Box {
    T value;
    static inline T twice(T v) { return v + v + hidden(static_cast<int>(v)); }
    inline T grow(T by) const { return twice(value) * by; }
    __attribute__((noinline)) T outer(T by) const {
        T sum = 0;
        for (int i = 0; i < static_cast<int>(by); i++) {
            sum += grow(by + i);
        }
        return sum;
    }
};

extern "C" __attribute__((noinline)) int plain_c(int n) {
    struct Local {
        int n;
        __attribute__((noinline)) int go() const { return hidden(n) + n; }
    };
    Local local{n};
    return local.go();
}

__attribute__((noinline)) int operator+(const Box<int>& a, const Box<int>& b) {
    return a.outer(b.value);
}
}  // namespace shapes

static inline __attribute__((always_inline)) int level3(int n) {
    if (n > 1000) {
        throw std::runtime_error("too much");
    }
    return std::rand() + n;
}
static inline __attribute__((always_inline)) int level2(int n) { return level3(n) * level3(n + 1); }
static inline __attribute__((always_inline)) int level1(int n) {
    int r = level2(n);
    return r ^ n;
}

int main(int argc, char**) {
    shapes::Box<int> box{argc};
    shapes::Box<long> wide{argc};
    auto add = [argc](int n) __attribute__((noinline)) { return shapes::plain_c(n) + argc; };
    std::vector<int> numbers(argc);
    numbers.push_back(add(argc));
    std::printf("%d %ld %d\n", box + box, wide.outer(3), level1(argc) + numbers[0]);
    return 0;
}
