#pragma once
// The events of a job's log and their text form.  One event is one JSON object on one line; the
// format is specified in docs/log-format.md and is a compatibility surface: a reader must accept
// every event that any released version wrote.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/jobs/attempt.hpp"
#include "daemon/jobs/job_spec.hpp"
#include "daemon/jobs/ledger.hpp"
#include "daemon/store/log_backend.hpp"
#include "optimizers/core/optimizer.hpp"
#include "optimizers/core/trial.hpp"

namespace paretod {

enum class JobStatus { queued, running, paused, succeeded, failed, cancelled, diverged };
std::string_view name_of(JobStatus status);
inline bool is_final(JobStatus status) {
  return status > JobStatus::paused;
}

/// First of every epoch: who appends from here on.
struct OwnerEvent {
  std::string nonce;
  std::string build;
};
/// A trial that another job paid for.
struct ImportedTrial {
  Candidate candidate;  ///< its tag says where it comes from: "import:JOB:TRIAL"
  Outcome outcome;      ///< ok
};
/// Second of a log.
struct CreatedEvent {
  JobSpec spec;
  std::string request_digest;  ///< of the body, when the client gave an Idempotency-Key
  std::vector<ImportedTrial> imported = {};
};
struct AskedEvent {
  TrialNumber number = 0;
  Candidate candidate;
};
struct ToldEvent {
  TrialNumber number = 0;
  Outcome outcome;
};
/// Why a job waits.
enum class PauseCause { request, failures, budget };
std::string_view name_of(PauseCause cause);
struct PausedEvent {
  std::string reason;
  PauseCause cause = PauseCause::request;
};
struct ResumedEvent {};
/// New limits, each replacing the old one where present.
struct ExtendedEvent {
  std::optional<std::uint64_t> trials;
  std::optional<double> wall_s;
  std::optional<std::size_t> parallelism;
  std::string reason;
  std::optional<double> evaluation_s = {};
  std::optional<std::uint64_t> tokens = {};
  std::optional<std::int64_t> money_micros = {};
};
/// An attempt that may cost money or leaves this machine: durable before it begins.
struct StartedEvent {
  TrialNumber number = 0;
  std::uint32_t attempt = 1;
  std::string worker;  ///< empty: the daemon's own
  Spend hold;          ///< what it may use up at most
};
/// An attempt that did not end its trial.
struct EndedEvent {
  TrialNumber number = 0;
  std::uint32_t attempt = 1;
  AttemptEnd end = AttemptEnd::transient;
  std::string worker;
  std::string reason;
  Spend cost;
};
/// From here on, this version of the evaluator's code and data.
struct EvaluatorEvent {
  std::string version;
};
/// So much of a resource's cap is used up.
struct BudgetEvent {
  Resource resource = Resource::seconds;
  int percent = 0;  ///< 80 or 100
};
/// Trials that somebody wants measured though the optimizer did not ask for them; all of a request
/// or none of it.
struct InjectedEvent {
  TrialNumber first = 0;  ///< the others follow it
  std::vector<Candidate> candidates;
  std::string key = {};             ///< the request's Idempotency-Key
  std::string request_digest = {};  ///< of its body, when it had a key
};
/// End of a search.  Only injected trials may follow.
struct FinishedEvent {
  JobStatus status = JobStatus::succeeded;
  std::string reason;
  Report report;
};

using EventBody = std::variant<OwnerEvent, CreatedEvent, AskedEvent, ToldEvent, PausedEvent,
                               ResumedEvent, ExtendedEvent, FinishedEvent, StartedEvent, EndedEvent,
                               BudgetEvent, EvaluatorEvent, InjectedEvent>;

struct Event {
  std::int64_t time_ms = 0;  ///< since the Unix epoch; for people, never read by a search
  EventBody body;
};

/// Now, in milliseconds since the Unix epoch.
std::int64_t unix_ms();

/// "owner", "created", "asked", ...
std::string_view name_of(const EventBody& body);

std::string encode(const Event& event);
/// corrupt when the text is not an event.
Result<Event> decode(std::string_view text);

}  // namespace paretod
