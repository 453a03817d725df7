/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/kernel_options.h"

static int choose(struct kernel_config *c, const struct command_run *r, struct err *err)
{
    bool coproc = option_bool(r->options, OPT_COPROC), command = r->word_count > 0;
    const char *plugin = option_text(r->options, OPT_PLUGIN);
    if (plugin && (command || coproc))
        return err_set(err, TTG_EUSAGE,
                       "--plugin and a command exclude each other; --plugin-arg is for the plugin");
    if (coproc && !command)
        return err_set(err, TTG_EUSAGE, "--coproc needs a command: --coproc -- CMD...");
    if ((plugin || command) && r->options->slots[OPT_SIMULATE_MS].source == OPTION_FROM_FLAG)
        return err_set(err, TTG_EUSAGE, "--simulate-ms and %s exclude each other",
                       plugin ? "--plugin" : "a command");
    if (option_given(r->options, OPT_PLUGIN_ARG) && !plugin)
        return err_set(err, TTG_EUSAGE, "--plugin-arg needs --plugin");
    c->type = plugin    ? KERNEL_PLUGIN
              : coproc  ? KERNEL_COPROC
              : command ? KERNEL_EXEC
                        : KERNEL_SIMULATE;
    c->plugin = plugin;
    c->plugin_arg = option_text(r->options, OPT_PLUGIN_ARG);
    c->argv = r->words;
    return 0;
}

int kernel_from_options(struct kernel_config *ret_config, const struct command_run *r,
                        struct err *err)
{
    const struct options *o = r->options;
    struct kernel_config c;
    kernel_config_init(&c);
    int rc = choose(&c, r, err);
    if (rc)
        return rc;
    c.slots = (uint32_t)option_u64(o, OPT_SLOTS);
    c.timeout_ms = option_ms(o, OPT_TIMEOUT);
    c.output_bytes_max = option_u64(o, OPT_OUTPUT_MAX);
    c.fault_rate = option_f64(o, OPT_FAULT_RATE);
    c.simulate_ms = option_f64(o, OPT_SIMULATE_MS);
    *ret_config = c;
    return 0;
}
