/* SPDX-License-Identifier: Apache-2.0 */
/* The quickest coprocess there can be: answers each line the same, at once.
 *
 *     coproc_echo [BYTES]      with BYTES: a result of so many, of which the first are the
 *                              number of the parameter */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int say(const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(1, bytes, size);
        if (n < 0)
            return -1;
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const char answer[] = "{\"sum\":1}\n", name[] = "\"start_param\":";
    size_t size = argc > 1 ? strtoul(argv[1], NULL, 10) : 0, room = size + 64;
    char bytes[4096 + 1], *text = malloc(room);
    ssize_t n;
    if (!text)
        return 1;
    while ((n = read(0, bytes, sizeof bytes - 1)) > 0) {
        if (bytes[n - 1] != '\n')
            continue;
        bytes[n] = 0;
        const char *at = strstr(bytes, name);
        if (size == 0 || !at) {
            if (say(answer, sizeof answer - 1))
                return 1;
            continue;
        }
        memset(text, 'x', room);
        int digits = sprintf(text, "{\"result\":\"%lld", atoll(at + sizeof name - 1));
        text[digits] = 'x';
        size_t end = size + 11 > (size_t)digits ? size + 11 : (size_t)digits;
        memcpy(text + end, "\"}\n", 3);
        if (say(text, end + 3))
            return 1;
    }
    return 0;
}
