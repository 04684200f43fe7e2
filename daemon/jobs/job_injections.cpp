// The part of a Job that measures trials which its optimizer did not ask for.
//
// One event holds a whole request, so that a crash leaves all of it or nothing, and takes the next
// trial numbers at the place in the log where it is: a replay steps over them.  They are handed to
// the dispatcher when the event is durable, and again by whatever starts the job after that (a run,
// a recovery), as long as they are open; the optimizer's own trials and theirs meet only there.

#include <algorithm>
#include <utility>

#include "daemon/jobs/job.hpp"

namespace paretod {

bool Job::is_wanted(TrialNumber number) const {
  if (!over()) return true;
  return !cancelling_ && state_.open_injections().contains(number);
}

bool Job::needs_log() const {
  const std::lock_guard lock(mutex_);
  return is_final(state_.status()) && !log_ && trouble_.empty();
}

AttemptRecord Job::attempts_at(TrialNumber number) const {
  const auto found = state_.attempts().find(number);
  return found == state_.attempts().end() ? AttemptRecord{} : found->second;
}

Result<void> Job::join_dispatcher() {
  const JobSpec& spec = state_.spec();
  const Catalog::NamedEvaluator* evaluator = catalog_.evaluator(spec.evaluator);
  if (evaluator == nullptr) {
    return Error{ErrorKind::conflict, catalog_.why_absent(spec.evaluator)};
  }
  if (!has_client_) {
    has_client_ = true;
    client_ = dispatcher_.add_client(
        {.context = context_,
         .evaluator = spec.evaluator,
         .sink = weak_from_this(),
         .trial_timeout_s = spec.trial_timeout_s,
         .max_attempts = spec.max_attempts,
         .ledger = {state_.budget().caps, state_.budget().worst_case, spent_, state_.held()}});
  }
  const std::string& version = evaluator->description.version;
  if (version != state_.evaluator_version()) append({0, EvaluatorEvent{version}});
  return {};
}

std::vector<WorkItem> Job::take_injections() {
  std::vector<WorkItem> items;
  for (const TrialNumber number : state_.open_injections()) {
    if (telling_.contains(number) || !in_flight_.insert(number).second) continue;
    items.push_back({number, state_.trials()[number - 1].candidate, attempts_at(number)});
  }
  return items;
}

Result<JobState::Injection> Job::inject(InjectedEvent request) {
  const std::lock_guard verbs(verbs_);
  std::unique_lock lock(mutex_);
  // A search that is ending has its place in the log first.
  changed_.wait(lock, [this] { return !ending_ || !trouble_.empty(); });
  if (const auto* known = state_.injection(request.key)) {
    if (known->request_digest == request.request_digest) return *known;
    return Error{ErrorKind::conflict,
                 "this Idempotency-Key was used before with another request body"};
  }
  if (!trouble_.empty()) return Error{ErrorKind::conflict, trouble_};
  if (state_.status() == JobStatus::paused) {
    return Error{ErrorKind::conflict, "the job is paused; resume it, then ask again"};
  }
  if (!log_) return Error{ErrorKind::unavailable, "the job's log is not open"};
  const Budget& budget = state_.budget();
  const Ledger ledger(budget.caps, budget.worst_case, spent_, state_.held());
  if (const auto resource = ledger.short_of()) {
    return Error{ErrorKind::conflict,
                 "the budget's " + std::string(name_of(*resource)) +
                     " has no room for another evaluation" +
                     (is_final(state_.status()) ? "" : "; extend it, then ask again")};
  }
  const bool ended = is_final(state_.status());
  if (ended) {
    cancelling_ = false;
    if (auto joined = join_dispatcher(); !joined) return joined.error();
  }
  request.first = asked_ + 1;
  const JobState::Injection injection{request.first, request.candidates.size(),
                                      request.request_digest};
  if (auto written = append_and_wait(lock, std::move(request)); !written) return written.error();
  // A job that waits for its turn dispatches them when it starts.
  if (!has_client_) return injection;
  std::vector<WorkItem> items = take_injections();
  const std::size_t parallelism = state_.parallelism();
  lock.unlock();
  if (ended) dispatcher_.set_parallelism(client_, parallelism);
  if (!items.empty()) dispatcher_.enqueue(client_, std::move(items));
  return injection;
}

void Job::resume_injections() {
  {
    const std::lock_guard lock(mutex_);
    if (!is_final(state_.status()) || state_.open_injections().empty()) return;
  }
  const std::lock_guard verbs(verbs_);
  std::vector<WorkItem> items;
  std::size_t parallelism = 1;
  {
    const std::lock_guard lock(mutex_);
    if (!log_ || !trouble_.empty()) return;
    if (const auto joined = join_dispatcher(); !joined) return;
    items = take_injections();
    parallelism = state_.parallelism();
  }
  if (items.empty()) return;
  dispatcher_.set_parallelism(client_, parallelism);
  dispatcher_.enqueue(client_, std::move(items));
}

void Job::refuse_injections(Resource resource) {
  const std::vector<TrialNumber> withdrawn = dispatcher_.withdraw(client_);
  const std::lock_guard lock(mutex_);
  for (const TrialNumber number : withdrawn) {
    if (!takes_outcome_of(number) || !is_wanted(number)) continue;
    Outcome outcome =
        Outcome::failure(TrialStatus::failed, "the budget's " + std::string(name_of(resource)) +
                                                  " has no room for another evaluation");
    outcome.attempts = 0;
    append_told({number, std::move(outcome)}, /*lazily=*/false);
  }
}

}  // namespace paretod
