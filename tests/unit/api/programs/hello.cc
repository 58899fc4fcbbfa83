#include <cstdio>
#include <roost.h>
#include <string>

struct point {
    double x, y;
};

namespace geo
{
ROOST_TASK(norm2);
int norm2(roost_task *task)
{
    auto p = roost_arg_value(task, 0, point);
    auto scale = roost_arg_real(task, 1);
    std::string unit = roost_arg_text(task, 2);
    double r = scale * (p.x * p.x + p.y * p.y);
    return roost_return_value(task, 0, r);
}
} // namespace geo

static int tick(roost_task *) { return 0; }
ROOST_TASK(tick);

int main()
{
    roost *rt;
    ROOST_CHECK(roost_open(&rt, nullptr));
    point p{ 3, 4 };
    roost_ref half, r;
    roost_task_options o{};
    o.cpus = 0.5;
    ROOST_CHECK(roost_call_with(rt, geo::norm2, &o, &half, roost_in_value(p), 2, "m2"));
    ROOST_CHECK(roost_call(rt, geo::norm2, &r, roost_in_value(p), 2.0f, std::string("m2").c_str()));
    ROOST_CHECK(roost_call(rt, tick, nullptr));
    roost_error e = ROOST_ERROR_INIT;
    (void)e;
    double v;
    ROOST_CHECK(roost_get_value(rt, half, &v, ROOST_FOREVER));
    ROOST_CHECK(roost_get_value(rt, r, &v, ROOST_FOREVER));
    std::printf("%f\n", v);
    roost_close(rt);
}
