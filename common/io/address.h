/* address.h - HOST:PORT as people write it, and which hosts are this machine */
#ifndef ROOST_COMMON_IO_ADDRESS_H
#define ROOST_COMMON_IO_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

enum { ADDRESS_HOST_BYTES = 256, ADDRESS_TEXT_BYTES = ADDRESS_HOST_BYTES + 8 };

struct address {
    char host[ADDRESS_HOST_BYTES]; /* a name, an IPv4 or an IPv6 address, without brackets */
    uint16_t port;
};

/* Reads "HOST:PORT" or "[IPV6]:PORT"; port 0 is allowed. ROOST_EINVAL with a text that shows an example. */
int address_parse(const char *text, struct address *address_out);

/* ROOST_EINVAL when the host is empty, too long, or holds a byte that no host name has. */
int address_make(const char *host, unsigned port, struct address *address_out);

/* "HOST:PORT", an IPv6 host in brackets. Returns `text_out`. */
char *address_print(const struct address *address, char text_out[ADDRESS_TEXT_BYTES]);

/* 127.0.0.0/8, ::1 or the word localhost. Any other name is not, whatever it resolves to. */
bool address_is_loopback(const struct address *address);

/* 0, or ROOST_EAUTH with the reason. Everything that listens asks here first. */
int address_check_listen(const struct address *address);

#endif
