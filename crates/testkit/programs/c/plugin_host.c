/* Opens a plugin with dlopen and dies inside it. */
#include "chain.h"
#include <dlfcn.h>
#include <stdio.h>

typedef int (*entry)(const char *text, int (*on_error)(int));

NOINLINE int run_plugin(entry plugin)
{
    return plugin("?", 0) + 1;
}

int main(void)
{
    void *library = dlopen("libparser.so", RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    entry plugin = (entry)dlsym(library, "parse_document");
    return plugin ? run_plugin(plugin) + 1 : 2;
}
