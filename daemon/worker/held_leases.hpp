#pragma once
// The leases that a worker holds and the evaluator tickets that stand for them.  A lease is held
// from its grant until the daemon has acknowledged its result (or it was given back), so that it
// does not lapse while the result is on its way.  Thread-safe.

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "daemon/worker/lease_api.hpp"
#include "evaluators/evaluator.hpp"

namespace paretod {

class HeldLeases {
 public:
  /// The ticket of a lease whose request has this id.
  std::uint64_t add(const std::string& lease, const std::string& id);
  /// What its result is about, before it ends with one.
  void set_objectives(std::uint64_t ticket, std::vector<Objective> objectives);

  /// The attempt has ended: what to report.  Empty for a ticket that is not held, or has ended.
  std::optional<SpooledResult> finish(const EvaluationReply& reply);
  /// Keeps the latest progress of each attempt until it is taken.
  void note_progress(const EvaluationReply& reply);
  std::vector<LeaseProgress> take_progress();
  [[nodiscard]] bool has_progress() const;

  /// The daemon has forgotten these: they get no more heartbeats, but are worked on to their end.
  void lapse(const std::vector<std::string>& leases);
  void drop(const std::vector<std::string>& leases);

  /// Leases that need heartbeats.
  [[nodiscard]] std::vector<std::string> alive() const;
  /// Leases whose attempts have not ended.
  [[nodiscard]] std::vector<std::string> running() const;
  [[nodiscard]] std::size_t running_count() const;
  /// While its attempt runs.
  [[nodiscard]] std::optional<std::uint64_t> ticket_of(const std::string& lease) const;

 private:
  struct Held {
    std::string lease;
    std::string id;
    std::vector<Objective> objectives;
    std::string progress = {};  ///< message; empty: none since the last heartbeat
    bool running = true;
    bool lapsed = false;
  };

  mutable std::mutex mutex_;
  std::map<std::uint64_t, Held> held_;  ///< by ticket
  std::uint64_t next_ticket_ = 1;
};

}  // namespace paretod
