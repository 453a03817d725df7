/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a sum, and what the digest of a result covers. */
#include "base/hash.h"
#include "core/ledger.h"

static size_t text_put(char *out, const char *literal, size_t len)
{
    memcpy(out, literal, len);
    return len;
}
#define TEXT_PUT(out, literal) text_put(out, literal, sizeof(literal) - 1)

size_t ledger_summary_text(char *out, __int128 sum, uint64_t count)
{
    size_t at = TEXT_PUT(out, "{\"sum\":");
    at += str_from_i128(out + at, sum);
    at += TEXT_PUT(out + at, ",\"count\":");
    at += str_from_u64(out + at, count);
    return at + TEXT_PUT(out + at, "}");
}

void ledger_result_digest(uint64_t chunk, char kind, struct str text, uint64_t ret_digest[2])
{
    char head[32];
    size_t at = str_from_u64(head, chunk);
    head[at++] = '\0';
    head[at++] = kind;
    head[at++] = '\0';
    for (uint64_t seed = 0; seed < 2; seed++)
        ret_digest[seed] = hash_xxh3_two(head, at, text.ptr, text.len, seed);
}
