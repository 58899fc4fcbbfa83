#include <roost.h>
#include <stdio.h>
#include <string.h>

ROOST_TASK(nothing);
int nothing(struct roost_task *task) { return task == NULL ? ROOST_EINVAL : 0; }

int main(void)
{
    printf("%s %s\n", roost_version(), roost_strerror(ROOST_EFULL));
    return strcmp(roost_last_error(), "") != 0;
}
