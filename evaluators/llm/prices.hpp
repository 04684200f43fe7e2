#pragma once
// What calls cost, and how much may be spent: prices are data of the configuration, amounts are
// whole millionths of the currency.  Before a call its worst case is set aside; when it ends, what
// it really cost takes that place, so that caps hold as long as no call costs more than its worst
// case. Not thread-safe.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/llm/dialect.hpp"

namespace paretod::llm {

/// "0.15" as 150000 millionths; nothing for what is no plain decimal number of at most six
/// fractional digits, or too large.
std::optional<std::int64_t> micros_of(std::string_view decimal);
/// "0.15"
std::string decimal_of(std::int64_t micros);

/// Millionths of the currency per million tokens.
struct Prices {
  std::string version;   ///< of the price list, as configured
  std::string currency;  ///< "USD"; empty: nothing is charged
  std::int64_t input = 0;
  std::int64_t cached_input = 0;
  std::int64_t output = 0;

  [[nodiscard]] bool paid() const { return !currency.empty(); }
  /// Rounded up, per call.
  [[nodiscard]] std::int64_t cost(const Usage& usage) const;
};

struct SpendCaps {
  std::int64_t day = 0;  ///< of all jobs together, per day (UTC); 0: none
  std::int64_t job = 0;  ///< of each job; 0: none
};

class Accounts {
 public:
  explicit Accounts(SpendCaps caps) : caps_(caps) {}

  /// What was spent before this process began.
  void add_spent(const std::string& job, std::int64_t day, std::int64_t micros);
  /// Sets `micros` aside, or says which cap leaves no room.  `day`: days since 1970.
  [[nodiscard]] std::optional<std::string> reserve(const std::string& job, std::int64_t day,
                                                   std::int64_t micros);
  /// A call that held `held` ended; it counts for the day on which it ended.
  void settle(const std::string& job, std::int64_t day, std::int64_t held, std::int64_t micros);

  [[nodiscard]] std::int64_t spent_on(std::int64_t day) const;
  [[nodiscard]] std::int64_t held() const { return held_; }

 private:
  struct Account {
    std::int64_t spent = 0;
    std::int64_t held = 0;
  };
  SpendCaps caps_;
  std::map<std::int64_t, std::int64_t> days_;
  std::map<std::string, Account> jobs_;
  std::int64_t held_ = 0;
};

}  // namespace paretod::llm
