/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <ttg/ttg.h>

const char *ttg_version(void)
{
    return TTG_VERSION;
}

const char *ttg_error_name(int code)
{
    return err_name(code);
}

const char *ttg_error_text(int code)
{
    return err_text(code);
}

int ttg_error_retry_helps(int code)
{
    return err_retry_helps(code);
}
