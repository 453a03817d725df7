/* SPDX-License-Identifier: Apache-2.0 */
/* spec_graph - the stages of a pipeline as a graph: no circles, nobody left over. */
#include "pipeline/spec.h"

static int complain(const struct spec_stage *st, const char *path, struct err *err,
                    const char *text, const char *more)
{
    return err_set(err, TTG_EUSAGE, "%s:%d: stage '%s': %s%s", path, st->line, st->name, text,
                   more);
}

/* Who is not fed first: then it is no wonder that somebody else feeds nobody. */
static int check_ends(const struct spec *s, const char *path, struct err *err)
{
    for (size_t i = 0; i < s->stage_count; i++) {
        const struct spec_stage *st = &s->stages[i];
        bool fed = st->from_count > 0;
        if (st->input && fed)
            return complain(st, path, err, "\"input\" and \"from\" exclude each other", "");
        if (st->kind != SPEC_SOURCE && !fed && !st->input)
            return complain(st, path, err, "\"from\" is missing: it would never get a message", "");
    }
    for (size_t i = 0; i < s->stage_count; i++) {
        const struct spec_stage *st = &s->stages[i];
        if (st->kind == SPEC_SINK && st->to_count > 0)
            return complain(st, path, err, "a sink sends nothing, but it feeds ",
                            s->stages[st->to[0]].name);
        if (st->kind != SPEC_SINK && st->to_count == 0)
            return complain(st, path, err, "nobody takes what it sends; a last stage is a \"sink\"",
                            "");
    }
    return 0;
}

/* Takes stages away whose upstream has gone already; what cannot go is in a circle. */
static int check_circle(const struct spec *s, const char *path, struct err *err)
{
    bool gone[SPEC_STAGES_MAX] = {0};
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < s->stage_count; i++) {
            bool free = !gone[i];
            for (size_t k = 0; k < s->stages[i].from_count; k++)
                free = free && gone[s->stages[i].from[k]];
            gone[i] |= free;
            more |= free;
        }
    }
    for (size_t i = 0; i < s->stage_count; i++)
        if (!gone[i])
            return complain(&s->stages[i], path, err,
                            "its messages would come back to it, through ",
                            s->stages[s->stages[i].from[0]].name);
    return 0;
}

int spec_connect(struct spec *s, const char *path, struct err *err)
{
    for (size_t i = 0; i < s->stage_count; i++)
        for (size_t k = 0; k < s->stages[i].from_count; k++) {
            struct spec_stage *up = &s->stages[s->stages[i].from[k]];
            up->to[up->to_count++] = i;
        }
    int rc = check_circle(s, path, err);
    return rc ? rc : check_ends(s, path, err);
}
