#pragma once
// What a job may use up, has used up, and has set aside for attempts that run.  For every resource
// with a cap, spent + held + worst_case <= cap at the moment of every successful reserve(), so an
// attempt that keeps within its worst case cannot carry the job over its cap.  Integers, except
// for seconds.  Not thread-safe: the dispatcher's lock guards it.

#include <array>
#include <optional>
#include <string_view>

#include "optimizers/core/trial.hpp"

namespace paretod {

enum class Resource { seconds, tokens, money };
inline constexpr std::array all_resources{Resource::seconds, Resource::tokens, Resource::money};
/// As in the job's budget: "evaluation_s", "tokens", "money".
std::string_view name_of(Resource resource);

/// The amount of one resource, in its own unit (seconds, tokens, millionths of the currency).
double amount_of(const Spend& spend, Resource resource);

class Ledger {
 public:
  Ledger() = default;
  /// `caps`: 0 is unlimited.  `worst_case`: of one attempt.
  Ledger(const Spend& caps, const Spend& worst_case, const Spend& spent, const Spend& held)
      : caps_(caps), worst_case_(worst_case), spent_(spent), held_(held) {}

  void set_caps(const Spend& caps) { caps_ = caps; }
  [[nodiscard]] const Spend& worst_case() const { return worst_case_; }
  [[nodiscard]] const Spend& spent() const { return spent_; }
  [[nodiscard]] const Spend& held() const { return held_; }

  /// The resource that has no room for another attempt.  One without a worst case has room as
  /// long as its cap is not reached.
  [[nodiscard]] std::optional<Resource> short_of() const;
  /// Sets the worst case aside, unless short_of() something.
  bool reserve();
  /// An attempt that held `hold` ended and used up `cost`.
  void settle(const Spend& hold, const Spend& cost);

 private:
  Spend caps_;
  Spend worst_case_;
  Spend spent_;
  Spend held_;
};

}  // namespace paretod
