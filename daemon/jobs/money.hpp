#pragma once
// Amounts of money as people write them, "5.00 USD": exact, in millionths of the currency.

#include <cstdint>
#include <string>
#include <string_view>

#include "optimizers/core/result.hpp"

namespace paretod {

struct Money {
  std::int64_t micros = 0;
  std::string currency;  ///< three capital letters
};

/// "5 USD", "0.000125 EUR": not negative, at most six decimals, at most 10^12 units.
Result<Money> parse_money(std::string_view text);
/// With two decimals, or as many more as it needs.
std::string money_text(std::int64_t micros, std::string_view currency);

}  // namespace paretod
