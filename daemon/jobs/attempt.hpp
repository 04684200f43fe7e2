#pragma once
// What is known of the attempts at one trial (DESIGN 2).  Plain values.

#include <cstdint>
#include <string>
#include <string_view>

#include "optimizers/core/trial.hpp"

namespace paretod {

/// How an attempt ended that did not end its trial.
enum class AttemptEnd {
  transient,  ///< the evaluator says that another attempt is worth while
  fault,      ///< fatal, crash or hang
  lost,       ///< whoever had it went silent
  released,   ///< given back before it began; counts against nothing
  surplus,    ///< another attempt had given the trial its outcome
};
std::string_view name_of(AttemptEnd end);

/// The attempts at a trial that has no outcome yet.
struct AttemptRecord {
  std::uint32_t started = 0;   ///< the number of the latest
  std::uint32_t failures = 0;  ///< ends that count against JobSpec::max_attempts
  std::uint32_t faults = 0;    ///< of those, the faults
  std::string failed_worker;   ///< who had the latest failure
  bool open = false;           ///< the latest is in the log as started and not as ended
  std::string worker;          ///< who has the open one
  Spend hold;                  ///< what the open one may use up at most

  void count(AttemptEnd end, const std::string& at) {
    open = false;
    hold = {};
    if (end == AttemptEnd::released || end == AttemptEnd::surplus) return;
    ++failures;
    if (end == AttemptEnd::fault) ++faults;
    failed_worker = at;
  }
};

}  // namespace paretod
