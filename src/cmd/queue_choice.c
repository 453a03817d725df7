/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/queue_choice.h"

#include "cmd/queue_options.h"
#include "io/random.h"

uint64_t queue_random(void)
{
    return random_u64() >> 1;
}

int queue_choose(struct queue_choice *ret_choice, const struct command_run *r, struct err *err)
{
    const struct options *o = r->options;
    struct buf text;
    ret_choice->job_given = option_text(o, OPT_JOB) != NULL;
    ret_choice->job = ret_choice->job_given ? option_text(o, OPT_JOB) : "default";
    buf_init(&text, URL_TEXT_BYTES_MAX);
    int rc = queue_address(o, &text, err);
    ret_choice->given = buf_len(&text) > 0;
    if (!rc && ret_choice->given)
        rc = url_parse(&ret_choice->url, buf_str(&text), err);
    buf_done(&text);
    ret_choice->config = (struct queue_config){
        .url = &ret_choice->url,
        .tls_ca = option_text(o, OPT_QUEUE_CA),
        .tls_cert = option_text(o, OPT_QUEUE_CERT),
        .tls_key = option_text(o, OPT_QUEUE_KEY),
        .tls_no_verify = option_bool(o, OPT_QUEUE_NO_VERIFY),
        .redis_wait = (unsigned)option_u64(o, OPT_REDIS_WAIT),
        .queue_type = option_text(o, OPT_QUEUE_TYPE),
        .retry_ms = option_ms(o, OPT_QUEUE_RETRY),
        .seed = queue_random(),
    };
    return rc;
}
