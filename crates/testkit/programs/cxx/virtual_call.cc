// Calls a virtual function of an object that is not there: the read of the vtable pointer faults.
// Templates, a namespace, an operator and a lambda give the names on the stack.
#include <functional>
#include <map>
#include <string>

#define NOINLINE __attribute__((noinline))

namespace net {

struct handler {
    virtual int handle(int) = 0;
    virtual ~handler() = default;
};

template <typename Key> struct router {
    std::map<Key, handler *> routes;

    NOINLINE int operator()(const Key &key)
    {
        return routes[key]->handle(1) + 1; // CRASH
    }
};

template <typename F> NOINLINE int with_retry(F f)
{
    return f() + 1;
}

NOINLINE int serve(const std::string &path)
{
    router<std::string> route;
    auto attempt = [&] { return route(path) + 1; };
    return with_retry(attempt) + 1;
}

} // namespace net

int main(int argc, char **)
{
    return net::serve(argc > 5 ? "/other" : "/index") + 1;
}
