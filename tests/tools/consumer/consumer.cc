#include <cstdio>
#include <roost.h>
#include <string>

static int nothing(roost_task *) { return 0; }
ROOST_TASK(nothing);

int main()
{
    std::printf("%s %s\n", roost_version(), roost_strerror(ROOST_EFULL));
    return std::string(roost_last_error()).empty() ? 0 : 1;
}
