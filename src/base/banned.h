/* Included before everything else by the build: functions that have no bounds, no errors or no
 * place here. */
#ifndef TT_BASE_BANNED_H
#define TT_BASE_BANNED_H

#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC poison strcpy strcat sprintf vsprintf gets strtok atoi atol atoll atof strncpy strncat
#undef alloca
#pragma GCC poison alloca

#endif
