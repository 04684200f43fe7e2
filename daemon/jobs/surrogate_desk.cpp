#include "daemon/jobs/surrogate_desk.hpp"

#include <algorithm>
#include <exception>

namespace paretod {
namespace {

constexpr std::size_t remembered_jobs = 16;

/// A copy of what a fit needs, so that it happens outside the job's lock.
struct Told {
  SearchProblem problem;
  std::vector<Trial> trials;
  std::uint64_t count = 0;
};

Told told_of(JobState& state) {
  Told told{state.problem(), {}, state.told_order().size()};
  for (std::size_t i = state.imported(); i < state.told_order().size(); ++i) {
    const TrialNumber number = state.told_order()[i];
    const TrialRecord& record = state.trials()[number - 1];
    // An outcome that was used again is not another measurement.
    if (record.outcome->same_as > 0) continue;
    told.trials.push_back(
        trial_view(number, record.candidate, *record.outcome, state.spec().objectives));
  }
  return told;
}

/// Optimizers that fit a surrogate: "map".
std::string surrogate_optimizers(const Catalog& catalog) {
  std::string names;
  for (const Optimizer& optimizer : catalog.optimizers()) {
    if (optimizer.surrogate) names += (names.empty() ? "" : " or ") + optimizer.name;
  }
  return names.empty() ? "none of this build does" : "use " + names;
}

}  // namespace

SurrogateDesk::SurrogateDesk(const Catalog& catalog)
    : catalog_(catalog), thread_([this](const std::stop_token& stop) { work(stop); }) {}

SurrogateDesk::~SurrogateDesk() {
  thread_.request_stop();
  thread_.join();
  const Result<JobSurrogate> stopping =
      Error{ErrorKind::unavailable, "the daemon is shutting down"};
  for (const auto& [job, then] : waiting_) then(stopping);
}

std::optional<JobSurrogate> SurrogateDesk::find(Job& job) {
  const auto [told, nonce] = job.with_state(
      [](JobState& state) { return std::pair(state.told_order().size(), state.nonce()); });
  const std::lock_guard lock(mutex_);
  for (const auto& [id, known] : recent_) {
    if (id == job.id() && known.nonce == nonce && known.surrogate.told == told) {
      return known.surrogate;
    }
  }
  return std::nullopt;
}

void SurrogateDesk::keep(Job& job, JobSurrogate surrogate) {
  Known known{job.with_state([](JobState& state) { return state.nonce(); }), std::move(surrogate)};
  const std::lock_guard lock(mutex_);
  std::erase_if(recent_, [&](const auto& entry) { return entry.first == job.id(); });
  recent_.emplace_front(job.id(), std::move(known));
  if (recent_.size() > remembered_jobs) recent_.pop_back();
}

Result<JobSurrogate> SurrogateDesk::fit(Job& job) const {
  const JobSpec& spec = *job.with_state([](JobState& state) { return &state.spec(); });
  const Optimizer* optimizer = catalog_.optimizer(spec.optimizer);
  if (optimizer == nullptr || optimizer->revision != spec.optimizer_revision) {
    return Error{ErrorKind::conflict, "this build does not have revision " +
                                          std::to_string(spec.optimizer_revision) +
                                          " of optimizer \"" + spec.optimizer + "\""};
  }
  if (!optimizer->surrogate) {
    return Error{ErrorKind::conflict, "optimizer \"" + spec.optimizer + "\" fits no surrogate; " +
                                          surrogate_optimizers(catalog_) +
                                          ", in a job that may import the trials of this one"};
  }
  const Told told = job.with_state(told_of);
  try {
    auto model = optimizer->surrogate(told.problem, spec.optimizer_params, told.trials);
    if (model) return JobSurrogate{std::move(*model), told.count};
    return Error{ErrorKind::conflict, model.error().message + "; ask again when more are told"};
  } catch (const std::exception& error) {
    return Error{ErrorKind::internal,
                 std::string("the surrogate cannot be fitted: ") + error.what()};
  }
}

void SurrogateDesk::ask(const std::shared_ptr<Job>& job, Then then) {
  if (auto known = find(*job)) return then(std::move(*known));
  {
    const std::lock_guard lock(mutex_);
    waiting_.emplace_back(job, std::move(then));
  }
  changed_.notify_one();
}

void SurrogateDesk::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !waiting_.empty(); })) {
    if (stop.stop_requested()) return;
    auto [job, then] = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    // The one before may have asked the same.
    if (auto known = find(*job)) {
      then(std::move(*known));
    } else {
      auto fitted = fit(*job);
      if (fitted) keep(*job, *fitted);
      then(fitted);
    }
    job.reset();
    lock.lock();
  }
}

}  // namespace paretod
