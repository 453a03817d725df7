/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "queue/url.h"

static void takes_addresses_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum url_scheme scheme;
        bool tls;
        const char *user, *password, *path, *shown;
        size_t hosts;
        const char *first;
        unsigned port, db;
    } cases[] = {
        {"embedded:/tmp/x", URL_EMBEDDED, false, NULL, NULL, "/tmp/x", "embedded:/tmp/x", 0, 0, 0,
         0},
        {"ttg+unix:/run/t.sock", URL_TTG_UNIX, false, NULL, NULL, "/run/t.sock",
         "ttg+unix:/run/t.sock", 0, 0, 0, 0},
        {"ttg://a", URL_TTG, false, NULL, NULL, "", "ttg://a:7379", 1, "a", 7379, 0},
        {"ttgs://:pw@a:1,b:2", URL_TTG, true, NULL, "pw", "", "ttgs://a:1,b:2", 2, "a", 1, 0},
        {"redis://h", URL_REDIS, false, NULL, NULL, "", "redis://h:6379", 1, "h", 6379, 0},
        {"redis://u:p%40ss@h:7/3", URL_REDIS, false, "u", "p@ss", "", "redis://u@h:7/3", 1, "h", 7,
         3},
        {"redis://u:p@ss@h", URL_REDIS, false, "u", "p@ss", "", "redis://u@h:6379", 1, "h", 6379,
         0},
        {"rediss://[::1]:99", URL_REDIS, true, NULL, NULL, "", "rediss://[::1]:99", 1, "::1", 99,
         0},
        {"redis+sentinel://a,b,c/main", URL_REDIS_SENTINEL, false, NULL, NULL, "main",
         "redis+sentinel://a:26379,b:26379,c:26379/main", 3, "a", 26379, 0},
        {"redis+sentinel://u:p@a/main/3?sentinel_user=s&sentinel_password=q%3d", URL_REDIS_SENTINEL,
         false, "u", "p", "main", "redis+sentinel://u@a:26379/main/3", 1, "a", 26379, 3},
        {"rediss+sentinel://a/m", URL_REDIS_SENTINEL, true, NULL, NULL, "m",
         "rediss+sentinel://a:26379/m", 1, "a", 26379, 0},
        {"redis+cluster://:p@a,b:7", URL_REDIS_CLUSTER, false, NULL, "p", "",
         "redis+cluster://a:6379,b:7", 2, "a", 6379, 0},
        {"rediss+cluster://a", URL_REDIS_CLUSTER, true, NULL, NULL, "", "rediss+cluster://a:6379",
         1, "a", 6379, 0},
        {"amqp://guest:guest@h", URL_AMQP, false, "guest", "guest", "/", "amqp://guest@h:5672/", 1,
         "h", 5672, 0},
        {"amqps://h/a%2fb", URL_AMQP, true, NULL, NULL, "a/b", "amqps://h:5671/a/b", 1, "h", 5671,
         0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct url u;
        struct err err = {0};
        char shown[URL_TEXT_BYTES_MAX];
        assert_int_equal(url_parse(&u, str_of(cases[i].text), &err), 0);
        assert_int_equal(u.scheme, cases[i].scheme);
        assert_int_equal(u.tls, cases[i].tls);
        assert_int_equal(u.user != NULL, cases[i].user != NULL);
        if (u.user)
            assert_string_equal(u.user, cases[i].user);
        assert_int_equal(u.password != NULL, cases[i].password != NULL);
        if (u.password)
            assert_string_equal(u.password, cases[i].password);
        assert_string_equal(u.path, cases[i].path);
        assert_int_equal(u.host_count, cases[i].hosts);
        if (u.host_count) {
            assert_string_equal(u.hosts[0].name, cases[i].first);
            assert_int_equal(u.hosts[0].port, cases[i].port);
        }
        assert_int_equal(u.db, cases[i].db);
        url_show(&u, shown);
        assert_string_equal(shown, cases[i].shown);
    }
}

static void refuses_what_is_wrong(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "unknown kind"},
        {"http://x", "unknown kind 'http'"},
        {"redis", "unknown kind"},
        {"redis:h", "'//' is missing"},
        {"redis://", "host name is missing"},
        {"redis://a,,b", "host name is missing"},
        {"redis://h:0", "port '0'"},
        {"redis://h:65536", "port '65536'"},
        {"redis://h:", "port ''"},
        {"redis://h/x", "database 'x'"},
        {"redis://u:%zz@h", "broken %XX"},
        {"redis://u:%00@h", "broken %XX"},
        {"redis://[::1", "IPv6"},
        {"redis+sentinel://a", "name of the master"},
        {"redis+sentinel://a/m/x", "database 'x'"},
        {"redis+sentinel://a/m?tls=1", "'?tls' is not known"},
        {"redis+sentinel://a/m?sentinel_user=%zz", "broken %XX in sentinel_user"},
        {"redis+cluster://a/0", "nothing may follow"},
        {"ttg://a/b", "nothing may follow"},
        {"embedded:", "needs a path"},
        {"amqp://h/%4", "broken %XX"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct url u;
        struct err err = {0};
        assert_int_equal(url_parse(&u, str_of(cases[i][0]), &err), TTG_EUSAGE);
        if (!strstr(err.text, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], err.text);
    }
    char many[200] = "redis://a", longest[URL_TEXT_BYTES_MAX + 1];
    for (int i = 0; i < URL_HOSTS_MAX; i++)
        strcat(many, ",a");
    struct url u;
    struct err err = {0};
    assert_int_equal(url_parse(&u, str_of(many), &err), TTG_EUSAGE);
    memset(longest, 'x', sizeof longest);
    assert_int_equal(url_parse(&u, str_make(longest, sizeof longest), &err), TTG_EUSAGE);
}

static void sentinels_may_have_a_password_of_their_own(void **state)
{
    struct url u;
    struct err err = {0};
    (void)state;
    assert_int_equal(url_parse(&u, STR("redis+sentinel://:p@a/m?sentinel_password=%26x"), &err), 0);
    assert_string_equal(u.sentinel_password, "&x");
    assert_null(u.sentinel_user);
    assert_int_equal(url_parse(&u, STR("redis+sentinel://:p@a/m"), &err), 0);
    assert_null(u.sentinel_password);
}

static void never_shows_a_password(void **state)
{
    (void)state;
    static const char *const cases[] = {"redis://u:secret@", "redis://u:secret@h:x",
                                        "redis://u:secret%@h", "amqp://u:secret@h/%"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct url u;
        struct err err = {0};
        assert_int_equal(url_parse(&u, str_of(cases[i]), &err), TTG_EUSAGE);
        assert_null(strstr(err.text, "secret"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_addresses_apart),
        cmocka_unit_test(refuses_what_is_wrong),
        cmocka_unit_test(sentinels_may_have_a_password_of_their_own),
        cmocka_unit_test(never_shows_a_password),
    };
    return tap_run(tests);
}
