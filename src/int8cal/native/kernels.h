/* What every kernel includes. */
#ifndef INT8CAL_KERNELS_H
#define INT8CAL_KERNELS_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernels read and write little-endian"
#endif

#define EXPORT __attribute__((visibility("default")))

#endif
