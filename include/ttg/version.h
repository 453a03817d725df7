/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TTG_VERSION_H
#define TTG_VERSION_H

#define TTG_VERSION "0.1.0"

#endif
