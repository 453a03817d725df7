/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/sized.h"

#include <stdint.h>
#include <string.h>
#include <ttg/version.h>

enum { SIZE_MOST = 4096 }; /* a size above is rather one that nobody set */

static int size_of(const void *theirs, size_t *ret_size, struct err *err)
{
    memcpy(ret_size, theirs, sizeof *ret_size);
    if (*ret_size > sizeof *ret_size && *ret_size <= SIZE_MOST)
        return 0;
    return err_set(err, TTG_EINVAL, "the field `size` of a struct is not set to its sizeof");
}

int sized_in(void *ours, size_t bytes, const void *theirs, struct err *err)
{
    size_t size;
    memset(ours, 0, bytes);
    if (!theirs)
        return 0;
    int rc = size_of(theirs, &size, err);
    if (rc)
        return rc;
    for (size_t i = bytes; i < size; i++)
        if (((const unsigned char *)theirs)[i] != 0)
            return err_set(err, TTG_EVERSION,
                           "the program sets an option that this library (" TTG_VERSION
                           ") does not know");
    memcpy(ours, theirs, size < bytes ? size : bytes);
    return 0;
}

int sized_out(void *theirs, const void *ours, size_t bytes, struct err *err)
{
    size_t size, head = sizeof size;
    int rc = size_of(theirs, &size, err);
    if (rc)
        return rc;
    size_t known = size < bytes ? size : bytes;
    memset((char *)theirs + head, 0, size - head);
    memcpy((char *)theirs + head, (const char *)ours + head, known - head);
    return 0;
}
