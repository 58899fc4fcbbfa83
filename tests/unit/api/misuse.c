/* Mistakes that must not compile: each M alone, by tests/tools/misuse.sh. Without any, this file compiles. */
#include <roost.h>
#include <stdio.h>
ROOST_TASK(f);
int f(struct roost_task *task)
{
    (void)task;
    return 0;
}
static int not_a_task(int x) { return x; }
struct point {
    double x, y;
};
void use(struct roost *rt);
void use(struct roost *rt)
{
    roost_ref a = { { 0, 0 }, 0, 0 }, out;
    struct point p = { 1, 2 };
    roost_ref many[3] = { a, a, a };
    int status = 0; /* used by each call: a warning about an unused result would hide what is tried */
#ifdef M1
    status = roost_call(rt, f, &out, &a);
#elif M2
    status = roost_call(rt, f, &out, p);
#elif M3
    status = roost_call(rt, f, &out, many);
#elif M4
    status = roost_call(rt, not_a_task, &out, a);
#elif M5
    status = roost_call(rt, f, out, a);
#elif M6
    status = roost_call(rt, f, a);
#elif M7
    status = roost_call_with(rt, f, &ROOST_TASK_OPTIONS(.cpu = 2), &out, a);
#elif M8
    status = roost_call(rt, f, &out, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
#elif M9
    roost_call(rt, f, &out, a);
#elif M10
    status = roost_call(rt, f);
#elif M11
    void *v = &p;
    status = roost_call(rt, f, &out, v);
#endif
    (void)p;
    (void)many;
    (void)a;
    (void)out;
    (void)not_a_task;
    (void)rt;
    (void)status;
}
