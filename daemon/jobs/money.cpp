#include "daemon/jobs/money.hpp"

#include <algorithm>

namespace paretod {
namespace {

constexpr std::int64_t micros_per_unit = 1'000'000;
constexpr std::size_t decimals = 6;
constexpr std::size_t most_digits = 12;

bool digits_only(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

Result<Money> parse_money(std::string_view text) {
  const Error refusal =
      invalid("must be an amount and a currency with at most six decimals, such as \"5.00 USD\"");
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos) return refusal;
  const std::string_view amount = text.substr(0, space);
  const std::string_view currency = text.substr(space + 1);
  const std::size_t point = std::min(amount.find('.'), amount.size());
  const std::string_view whole = amount.substr(0, point);
  const std::string_view fraction =
      point < amount.size() ? amount.substr(point + 1) : std::string_view();
  const bool capitals =
      currency.size() == 3 &&
      std::all_of(currency.begin(), currency.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  if (!capitals || whole.empty() || whole.size() > most_digits || fraction.size() > decimals ||
      (point < amount.size() && fraction.empty()) || !digits_only(whole) ||
      !digits_only(fraction)) {
    return refusal;
  }
  std::string micros(whole);
  micros += fraction;
  micros.append(decimals - fraction.size(), '0');
  return Money{std::stoll(micros), std::string(currency)};
}

std::string money_text(std::int64_t micros, std::string_view currency) {
  std::string fraction = std::to_string(micros % micros_per_unit);
  fraction.insert(0, decimals - fraction.size(), '0');
  while (fraction.size() > 2 && fraction.back() == '0') fraction.pop_back();
  std::string text = std::to_string(micros / micros_per_unit) + "." + fraction;
  if (!currency.empty()) (text += ' ') += currency;
  return text;
}

}  // namespace paretod
