/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SPARE_BYTES = 1 << 20 };

static _Thread_local size_t fail_at;
static _Thread_local int failed;

static int mem_fails_now(void)
{
    if (__builtin_expect(fail_at == 0, 1))
        return 0;
    if (--fail_at > 0)
        return 0;
    failed = 1;
    return 1;
}

void mem_fail_at(size_t n)
{
    fail_at = n;
    failed = 0;
}

int mem_failed(void)
{
    return failed;
}

void *mem_alloc(size_t bytes)
{
    return mem_fails_now() ? NULL : malloc(bytes ? bytes : 1);
}

void *mem_zalloc(size_t bytes)
{
    return mem_fails_now() ? NULL : calloc(1, bytes ? bytes : 1);
}

void *mem_array(size_t count, size_t bytes)
{
    size_t total;
    return __builtin_mul_overflow(count, bytes, &total) ? NULL : mem_alloc(total);
}

void *mem_realloc(void *ptr, size_t bytes)
{
    return mem_fails_now() ? NULL : realloc(ptr, bytes ? bytes : 1);
}

char *mem_dup(const void *bytes, size_t len)
{
    char *copy = len == SIZE_MAX ? NULL : mem_alloc(len + 1);
    if (!copy)
        return NULL;
    if (len > 0)
        memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

char *mem_strdup(const char *text)
{
    return mem_dup(text, strlen(text));
}

void mem_free(void *ptr)
{
    free(ptr);
}

void mem_return_large(void)
{
    mallopt(M_MMAP_THRESHOLD, MEM_LARGE_BYTES);
    mallopt(M_TRIM_THRESHOLD, SPARE_BYTES); /* without it a step up and down at each turn */
}

void mem_return_holes(void)
{
    malloc_trim(0);
}
