/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <ttg/version.h>

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "version") == 0) {
        printf("ttg %s\n", TTG_VERSION);
        return 0;
    }
    fprintf(stderr, "ttg: usage: ttg version\n");
    return 2;
}
