#pragma once
// Which network addresses a configured URL may lead to, asked after the name has been resolved, so
// that a name that resolves to something else the second time gains nothing.  Pure functions.

#include <sys/socket.h>

namespace paretod {

enum class AddressClass {
  open,       ///< reachable from anywhere
  internal,   ///< loopback, private and shared networks (RFC 1918, 4193, 6598)
  forbidden,  ///< link-local, cloud metadata, multicast, unspecified, not an internet address
};

/// IPv4 addresses that are written as IPv6 are judged as IPv4.
AddressClass class_of(const sockaddr& address);

}  // namespace paretod
