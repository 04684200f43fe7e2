#pragma once
// SHA-256 (FIPS 180-4).  Used to compare secrets and to name things by their content; pure
// functions, any thread.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace paretod {

using Sha256 = std::array<std::uint8_t, 32>;

/// With the processor's SHA instructions where it has them.
Sha256 sha256(std::string_view bytes);
/// Without them, so that tests can compare both.
Sha256 sha256_portable(std::string_view bytes);
bool sha256_has_instructions();
/// 64 lower-case digits.
std::string sha256_hex(std::string_view bytes);
/// In a time that does not depend on where they differ.
bool same_digest(const Sha256& a, const Sha256& b);

}  // namespace paretod
