/* SPDX-License-Identifier: Apache-2.0 */
/* The quickest coprocess there can be: answers each line the same, at once. */
#include <string.h>
#include <unistd.h>

int main(void)
{
    static const char answer[] = "{\"sum\":1}\n";
    char bytes[4096];
    ssize_t n;
    while ((n = read(0, bytes, sizeof bytes)) > 0)
        if (bytes[n - 1] == '\n' && write(1, answer, sizeof answer - 1) < 0)
            return 1;
    return 0;
}
