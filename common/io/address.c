#include "common/io/address.h"
#include "common/error.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool is_host_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '.' || byte == '-' || byte == '_' || byte == ':' || byte == '%';
}

int address_make(const char *host, unsigned port, struct address *address_out)
{
    size_t length = strlen(host);
    if (length == 0 || length >= ADDRESS_HOST_BYTES || port > UINT16_MAX) {
        return error_set(ROOST_EINVAL, "\"%.64s\" port %u is no address; write HOST:PORT, as in 127.0.0.1:7070", host,
                         port);
    }
    for (size_t i = 0; i < length; i++) {
        if (!is_host_byte(host[i])) {
            return error_set(ROOST_EINVAL, "\"%.64s\" is no host name; write HOST:PORT, as in 127.0.0.1:7070", host);
        }
    }
    memcpy(address_out->host, host, length + 1);
    address_out->port = (uint16_t)port;
    return 0;
}

/* -1 when it is no number from 0 to 65535. */
static long port_of(const char *text)
{
    long port = 0;
    if (*text == '\0' || strlen(text) > 5) {
        return -1;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return -1;
        }
        port = port * 10 + (*text - '0');
    }
    return port <= UINT16_MAX ? port : -1;
}

int address_parse(const char *text, struct address *address_out)
{
    const char *colon = strrchr(text, ':');
    long port = colon != NULL ? port_of(colon + 1) : -1;
    const char *host = text, *host_end = colon;
    bool in_brackets = port >= 0 && colon - text >= 2 && text[0] == '[' && colon[-1] == ']';
    if (in_brackets) {
        host++;
        host_end--;
    }
    if (port < 0 || host_end == host || host_end - host >= ADDRESS_HOST_BYTES ||
        (!in_brackets && memchr(host, ':', (size_t)(host_end - host)) != NULL)) {
        return error_set(ROOST_EINVAL, "\"%.64s\" is no address; write HOST:PORT, as in 127.0.0.1:7070 or [::1]:7070",
                         text);
    }
    char name[ADDRESS_HOST_BYTES];
    memcpy(name, host, (size_t)(host_end - host));
    name[host_end - host] = '\0';
    return address_make(name, (unsigned)port, address_out);
}

char *address_print(const struct address *address, char text_out[ADDRESS_TEXT_BYTES])
{
    bool is_six = strchr(address->host, ':') != NULL;
    snprintf(text_out, ADDRESS_TEXT_BYTES, "%s%s%s:%u", is_six ? "[" : "", address->host, is_six ? "]" : "",
             address->port);
    return text_out;
}

bool address_is_loopback(const struct address *address)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, address->host, &four) == 1) {
        return ntohl(four.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, address->host, &six) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&six);
    }
    return strcmp(address->host, "localhost") == 0;
}

int address_check_listen(const struct address *address)
{
    if (address_is_loopback(address)) {
        return 0;
    }
    return error_set(ROOST_EAUTH,
                     "refusing to listen on %s: nothing of Roost listens beyond this machine without a key, and keys "
                     "are not there yet; use 127.0.0.1",
                     address->host);
}
