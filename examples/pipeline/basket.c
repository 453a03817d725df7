/* SPDX-License-Identifier: Apache-2.0 */
/* basket - an aggregate as a library: how many sales a client had, the least and the greatest.
 *
 *     cc -shared -fPIC -O2 -o basket.so basket.c
 *     {"name": "baskets", "from": "price", "aggregate": "./basket.so"} */
#include <stdio.h>
#include <ttg/aggregate.h>

struct basket {
    uint64_t sales;
    long long least, greatest;
};

static int rebuild(void *user, struct ttg_bytes client, void *state, const struct ttg_kept *row)
{
    struct basket *b = state;
    long long least, greatest;
    (void)user;
    (void)client;
    /* A message's value is one number; a summary's, as `merge` says it, are two. */
    int count = sscanf(row->value.ptr, "%lld %lld", &least, &greatest);
    if (count < 1)
        return 1;
    if (count == 1)
        greatest = least;
    if (b->sales == 0 || least < b->least)
        b->least = least;
    if (b->sales == 0 || greatest > b->greatest)
        b->greatest = greatest;
    b->sales += row->rows;
    return 0;
}

static int merge(void *user, struct ttg_bytes client, const void *state, struct ttg_rows *out)
{
    const struct basket *b = state;
    char text[64];
    (void)user;
    (void)client;
    int len = snprintf(text, sizeof text, "%lld %lld", b->least, b->greatest);
    return ttg_put(out, "", 0, text, (size_t)len);
}

static int result(void *user, struct ttg_bytes client, const void *state, struct ttg_rows *out)
{
    const struct basket *b = state;
    char text[100];
    (void)user;
    (void)client;
    int len = snprintf(text, sizeof text, "{\"sales\":%llu,\"least\":%lld,\"greatest\":%lld}",
                       (unsigned long long)b->sales, b->least, b->greatest);
    return ttg_put(out, "", 0, text, (size_t)len);
}

TTG_AGGREGATE(.name = "basket", .state_bytes = sizeof(struct basket), .rebuild = rebuild,
              .merge = merge, .result = result);
