/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/embedded.h"

void command_word(struct command_words *w, const char *word)
{
    if (w->count < COMMAND_WORDS_MAX - 1)
        w->list[w->count++] = (char *)(uintptr_t)word;
}

void command_option(struct command_words *w, const struct options *o, enum option_id id)
{
    static const char *const flags[OPT_COUNT] = {
        [OPT_SLOTS] = "--slots",
        [OPT_SIMULATE_MS] = "--simulate-ms",
        [OPT_FAULT_RATE] = "--fault-rate",
        [OPT_PLUGIN] = "--plugin",
        [OPT_PLUGIN_ARG] = "--plugin-arg",
        [OPT_TIMEOUT] = "--timeout",
        [OPT_OUTPUT_MAX] = "--output-max",
        [OPT_DRAIN] = "--drain",
        [OPT_PREFETCH] = "--prefetch",
        [OPT_LOG_LEVEL] = "--log-level",
        [OPT_LOG_FORMAT] = "--log-format",
        [OPT_SYNC] = "--sync",
        [OPT_QUEUE_RETRY] = "--queue-retry",
        [OPT_REDIS_WAIT] = "--redis-wait",
        [OPT_QUEUE_CA] = "--queue-ca",
        [OPT_QUEUE_CERT] = "--queue-cert",
        [OPT_QUEUE_KEY] = "--queue-key",
    };
    const char *text = option_text(o, id);
    if (!text || !option_given(o, id))
        return;
    command_word(w, flags[id]);
    command_word(w, text);
}

void embedded_node(struct command_words *w, const struct run_dir *dir, const struct options *o)
{
    command_word(w, "ttg");
    command_word(w, "node");
    command_word(w, "--data");
    command_word(w, dir->data);
    command_word(w, "--unix");
    command_word(w, dir->socket);
    command_word(w, "--until-eof");
    command_option(w, o, OPT_SYNC);
    command_option(w, o, OPT_LOG_FORMAT);
    command_word(w, "--log-level");
    command_word(w, option_given(o, OPT_LOG_LEVEL) ? option_text(o, OPT_LOG_LEVEL) : "WARN");
}
