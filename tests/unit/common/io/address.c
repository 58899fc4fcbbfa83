#include "common/io/address.h"
#include "common/error.h"
#include "tests/lib/test.h"

#include <string.h>

TEST(address, reads_what_it_prints)
{
    static const char *const texts[] = { "127.0.0.1:7070", "[::1]:0", "node-3.example:65535", "localhost:1" };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct address address;
        char text[ADDRESS_TEXT_BYTES];
        CHECK_EQ(address_parse(texts[i], &address), 0);
        CHECK_TEXT(address_print(&address, text), texts[i]);
    }
}

TEST(address, refuses_what_is_none)
{
    static const char *const texts[] = {
        "",      ":1",    "host",  "host:", "host:65536",        "host:-1",   "host:1x", "::1:80",
        "[]:80", "[::1]", "a b:1", "a/b:1", "host:123456789012", "tcp://h:1", "[::1:80", "h\n:1"
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct address address;
        CHECK_EQ(address_parse(texts[i], &address), ROOST_EINVAL);
        CHECK(strstr(error_text(), "HOST:PORT") != NULL);
    }
    char longest[600];
    memset(longest, 'a', sizeof longest);
    strcpy(longest + sizeof longest - 4, ":80");
    struct address address;
    CHECK_EQ(address_parse(longest, &address), ROOST_EINVAL);
}

TEST(address, only_loopback_may_listen)
{
    static const struct {
        const char *host;
        bool may;
    } cases[] = { { "127.0.0.1", true },
                  { "127.9.8.7", true },
                  { "::1", true },
                  { "localhost", true },
                  { "0.0.0.0", false },
                  { "::", false },
                  { "10.0.0.1", false },
                  { "128.0.0.1", false },
                  { "127.1", false },
                  { "127.0.0.1.evil.example", false },
                  { "localhost.evil.example", false },
                  { "::ffff:127.0.0.1", false },
                  { "Localhost", false },
                  { "2130706433", false } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address address;
        CHECK_EQ(address_make(cases[i].host, 1, &address), 0);
        CHECK_EQ(address_check_listen(&address), cases[i].may ? 0 : ROOST_EAUTH);
    }
    struct address wide;
    CHECK_EQ(address_make("0.0.0.0", 1, &wide), 0);
    CHECK_EQ(address_check_listen(&wide), ROOST_EAUTH);
    CHECK_TEXT(error_text(),
               "refusing to listen on 0.0.0.0: nothing of Roost listens beyond this machine without a key, "
               "and keys are not there yet; use 127.0.0.1");
}
