#include "evaluators/llm/prices.hpp"

#include <algorithm>

namespace paretod::llm {

namespace {

constexpr std::int64_t million = 1'000'000;

}  // namespace

std::optional<std::int64_t> micros_of(std::string_view decimal) {
  const std::size_t point = std::min(decimal.find('.'), decimal.size());
  const std::string_view whole = decimal.substr(0, point);
  const std::string_view part = point < decimal.size() ? decimal.substr(point + 1) : "";
  const auto digits = [](std::string_view text) {
    return text.find_first_not_of("0123456789") == std::string_view::npos;
  };
  if (whole.empty() || whole.size() > 12 || part.size() > 6 || !digits(whole) || !digits(part) ||
      (point < decimal.size() && part.empty())) {
    return {};
  }
  std::int64_t out = std::stoll(std::string(whole)) * million;
  std::int64_t unit = million / 10;
  for (const char digit : part) {
    out += unit * (digit - '0');
    unit /= 10;
  }
  return out;
}

std::string decimal_of(std::int64_t micros) {
  std::string part = std::to_string(million + micros % million).substr(1);
  while (part.size() > 2 && part.back() == '0') part.pop_back();
  return std::to_string(micros / million) + "." + part;
}

std::int64_t Prices::cost(const Usage& usage) const {
  // Counts come from a server: beyond any real reply they are cut, so that nothing overflows.
  const auto tokens = [](std::uint64_t count) {
    return static_cast<std::int64_t>(std::min<std::uint64_t>(count, 1'000'000'000));
  };
  const std::int64_t cached = std::min(tokens(usage.cached_tokens), tokens(usage.prompt_tokens));
  const std::int64_t fresh = tokens(usage.prompt_tokens) - cached;
  const std::int64_t sum =
      fresh * input + cached * cached_input + tokens(usage.output_tokens) * output;
  return (sum + million - 1) / million;
}

void Accounts::add_spent(const std::string& job, std::int64_t day, std::int64_t micros) {
  days_[day] += micros;
  jobs_[job].spent += micros;
}

std::optional<std::string> Accounts::reserve(const std::string& job, std::int64_t day,
                                             std::int64_t micros) {
  Account& account = jobs_[job];
  if (caps_.day > 0 && days_[day] + held_ + micros > caps_.day) {
    return "the cap of " + decimal_of(caps_.day) +
           " a day leaves no room for another call: " + decimal_of(days_[day]) + " are spent and " +
           decimal_of(held_) + " set aside";
  }
  if (caps_.job > 0 && account.spent + account.held + micros > caps_.job) {
    return "the cap of " + decimal_of(caps_.job) +
           " a job leaves no room for another call: " + decimal_of(account.spent) +
           " are spent and " + decimal_of(account.held) + " set aside";
  }
  account.held += micros;
  held_ += micros;
  return {};
}

void Accounts::settle(const std::string& job, std::int64_t day, std::int64_t held,
                      std::int64_t micros) {
  Account& account = jobs_[job];
  account.held -= held;
  held_ -= held;
  account.spent += micros;
  days_[day] += micros;
}

std::int64_t Accounts::spent_on(std::int64_t day) const {
  const auto found = days_.find(day);
  return found == days_.end() ? 0 : found->second;
}

}  // namespace paretod::llm
