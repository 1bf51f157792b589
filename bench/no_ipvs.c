/* Lets keepalived's checkers run on a kernel without IPVS, for `make race` (LD_PRELOAD).
 *
 * keepalived checks real servers only on behalf of IPVS. Where the kernel has none, its IPVS socket
 * options are answered here, with success and nothing done. The checkers are not touched.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static int is_ipvs(int level, int option)
{
    return level == IPPROTO_IP && option >= IP_VS_BASE_CTL && option <= IP_VS_SO_SET_MAX;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    static int (*next)(int, int, int, const void *, socklen_t);
    if (is_ipvs(level, option))
        return 0;
    if (next == NULL)
        next = (int (*)(int, int, int, const void *, socklen_t))dlsym(RTLD_NEXT, "setsockopt");
    return next(fd, level, option, value, length);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
    static int (*next)(int, int, int, void *, socklen_t *);
    if (is_ipvs(level, option)) {
        memset(value, 0, *length);
        if (option == IP_VS_SO_GET_INFO && *length >= sizeof(struct ip_vs_getinfo)) {
            struct ip_vs_getinfo *info = value;
            info->version = IP_VS_VERSION_CODE;
            info->size = 4096;
        }
        return 0;
    }
    if (next == NULL)
        next = (int (*)(int, int, int, void *, socklen_t *))dlsym(RTLD_NEXT, "getsockopt");
    return next(fd, level, option, value, length);
}
