/* What every kernel includes. */
#ifndef INT8CAL_KERNELS_H
#define INT8CAL_KERNELS_H

#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

#endif
