#include "adapters/http/address_rule.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace paretod {
namespace {

struct Network {
  std::uint32_t address;
  unsigned bits;
};

bool within(std::uint32_t address, const Network& network) {
  return (address ^ network.address) >> (32 - network.bits) == 0;
}

AddressClass class_of_v4(std::uint32_t address) {
  constexpr std::array<Network, 5> forbidden{{
      {0x00000000, 8},   // "this" network
      {0xA9FE0000, 16},  // link-local, the metadata services of most clouds among them
      {0x646464C8, 32},  // metadata service of one that uses shared address space
      {0xE0000000, 4},   // multicast
      {0xF0000000, 4},   // reserved, broadcast
  }};
  constexpr std::array<Network, 5> internal{{
      {0x7F000000, 8},
      {0x0A000000, 8},
      {0xAC100000, 12},
      {0xC0A80000, 16},
      {0x64400000, 10},
  }};
  const auto holds = [address](const Network& network) { return within(address, network); };
  if (std::any_of(forbidden.begin(), forbidden.end(), holds)) return AddressClass::forbidden;
  if (std::any_of(internal.begin(), internal.end(), holds)) return AddressClass::internal;
  return AddressClass::open;
}

AddressClass class_of_v6(const in6_addr& address) {
  const std::uint8_t* const bytes = address.s6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&address)) {
    std::uint32_t v4 = 0;
    std::memcpy(&v4, bytes + 12, sizeof v4);
    return class_of_v4(ntohl(v4));
  }
  if (IN6_IS_ADDR_LOOPBACK(&address)) return AddressClass::internal;
  // Whatever else embeds an IPv4 address or is special: 64:ff9b::/96, 2002::/16 and the like.
  constexpr std::array<std::uint8_t, 4> translated{0x00, 0x64, 0xFF, 0x9B};
  const bool embeds = std::equal(translated.begin(), translated.end(), bytes) ||
                      (bytes[0] == 0x20 && bytes[1] == 0x02) ||
                      std::all_of(bytes, bytes + 12, [](std::uint8_t byte) { return byte == 0; });
  const bool link_local = bytes[0] == 0xFE && bytes[1] >= 0x80;
  if (embeds || link_local || bytes[0] == 0xFF) return AddressClass::forbidden;
  // fd00:ec2::254 is a metadata service.
  constexpr std::array<std::uint8_t, 4> metadata{0xFD, 0x00, 0x0E, 0xC2};
  if (std::equal(metadata.begin(), metadata.end(), bytes)) return AddressClass::forbidden;
  return (bytes[0] & 0xFE) == 0xFC ? AddressClass::internal : AddressClass::open;
}

}  // namespace

AddressClass class_of(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return class_of_v4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address, sizeof v6);
    return class_of_v6(v6.sin6_addr);
  }
  return AddressClass::forbidden;
}

}  // namespace paretod
