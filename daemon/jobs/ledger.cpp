#include "daemon/jobs/ledger.hpp"

#include <algorithm>

namespace paretod {
namespace {

/// Exact for the integers, which stay far below 2^63.
template <class T>
bool room(T cap, T spent, T held, T worst) {
  if (cap <= 0) return true;
  if (worst == 0) return spent + held < cap;
  return spent + held + worst <= cap;
}

}  // namespace

std::string_view name_of(Resource resource) {
  constexpr std::string_view names[] = {"evaluation_s", "tokens", "money"};
  return names[static_cast<std::size_t>(resource)];
}

double amount_of(const Spend& spend, Resource resource) {
  if (resource == Resource::seconds) return spend.seconds;
  if (resource == Resource::tokens) return static_cast<double>(spend.tokens);
  return static_cast<double>(spend.money_micros);
}

std::optional<Resource> Ledger::short_of() const {
  if (!room(caps_.money_micros, spent_.money_micros, held_.money_micros,
            worst_case_.money_micros)) {
    return Resource::money;
  }
  if (!room(caps_.tokens, spent_.tokens, held_.tokens, worst_case_.tokens)) {
    return Resource::tokens;
  }
  // Sums of doubles: what was given back may leave a little behind.
  const double dust = worst_case_.seconds > 0 ? 1e-9 * caps_.seconds : 0;
  if (!room(caps_.seconds + dust, spent_.seconds, held_.seconds, worst_case_.seconds)) {
    return Resource::seconds;
  }
  return std::nullopt;
}

bool Ledger::reserve() {
  if (short_of()) return false;
  held_ += worst_case_;
  return true;
}

void Ledger::settle(const Spend& hold, const Spend& cost) {
  held_.seconds = std::max(0.0, held_.seconds - hold.seconds);
  held_.tokens -= std::min(held_.tokens, hold.tokens);
  held_.money_micros -= std::min(held_.money_micros, hold.money_micros);
  spent_ += cost;
}

}  // namespace paretod
