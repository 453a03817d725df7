/* SPDX-License-Identifier: Apache-2.0 */
/* glob - patterns of key names: * ? [a-z] [^a-z] and \ before a character that stands for itself.
 */
#ifndef TTG_CORE_GLOB_H
#define TTG_CORE_GLOB_H

#include "base/str.h"

/* Linear in pattern times name, whatever the pattern. */
bool glob_matches(struct str pattern, struct str name);

#endif
