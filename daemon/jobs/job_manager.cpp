#include "daemon/jobs/job_manager.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "daemon/jobs/event.hpp"

namespace paretod {
namespace {

/// `digits` characters of Crockford's base32, lower case: easy to read aloud and to type.
std::string base32(std::uint64_t value, std::size_t digits) {
  constexpr char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
  std::string text;
  for (; text.size() < digits; value >>= 5) text += alphabet[value & 31];
  return text;
}

std::uint64_t random64() {
  std::random_device entropy;
  return static_cast<std::uint64_t>(entropy()) << 32 | entropy();
}

/// The same key always names the same job, so a repeat lands on the same log.
std::uint64_t hash_of(const std::string& key, std::uint64_t salt) {
  std::uint64_t hash = salt;
  for (const char c : key) hash = mix64(hash, static_cast<unsigned char>(c));
  return hash;
}

std::string job_id(const JobSpec& spec, const std::string& idempotency_key) {
  if (!idempotency_key.empty()) {
    return "key-" + base32(hash_of(idempotency_key, 1), 12) +
           base32(hash_of(idempotency_key, 2), 12);
  }
  return spec.name.substr(0, 50) + "-" + base32(random64(), 6);
}

/// One log entry has to hold them (redis-log.md rule 3).
constexpr std::size_t max_import_bytes = 512 * 1024;

/// The trials of the front, then the latest of the others that are ok, one per point; in order.
std::vector<TrialNumber> importable(JobState& state, std::uint64_t limit) {
  const std::size_t bytes_each = 64 + 12 * (state.spec().space.dimension() + 2);
  limit = std::min<std::uint64_t>(limit, max_import_bytes / bytes_each);
  std::set<TrialNumber> chosen;
  const ParetoArchive& front = state.front();
  for (std::size_t i = 0; i < front.size() && chosen.size() < limit; ++i) {
    chosen.insert(state.measured()[front.id(i)].first_trial);
  }
  const auto& measured = state.measured();
  for (auto point = measured.rbegin(); point != measured.rend() && chosen.size() < limit; ++point) {
    chosen.insert(point->first_trial);
  }
  return {chosen.begin(), chosen.end()};
}

}  // namespace

JobManager::JobManager(LogBackend& backend, const Catalog& catalog, ManagerOptions options)
    : backend_(backend),
      catalog_(catalog),
      options_(std::move(options)),
      commits_(backend),
      dispatcher_(catalog, options_.dispatcher),
      lease_desk_(dispatcher_, [this](const std::string& id) { return find(id); }),
      starter_([this](const std::stop_token& stop) {
        std::unique_lock lock(mutex_);
        while (starter_wake_.wait(lock, stop, [this] { return starter_due_; })) {
          starter_due_ = false;
          lock.unlock();
          start_queued();
          lock.lock();
        }
      }) {}

JobManager::~JobManager() {
  drain(0);
}

void JobManager::wake_starter() {
  {
    const std::lock_guard lock(mutex_);
    starter_due_ = true;
  }
  starter_wake_.notify_one();
}

Event JobManager::owner_event() const {
  return {unix_ms(), OwnerEvent{base32(random64(), 12), options_.build}};
}

Result<void> JobManager::fold(const std::string& id, EventId after, JobState& state) {
  std::optional<Error> failure;
  auto top = backend_.read(id, after, [&](EventId event_id, std::string_view text) {
    auto event = decode(text);
    Result<void> applied = event ? state.apply(event_id, *event) : Result<void>(event.error());
    if (!applied) {
      failure = applied.error();
      failure->message = "event " + event_id.text() + ": " + failure->message;
    }
    return !failure;
  });
  if (failure) return *failure;
  if (!top) return top.error();
  return {};
}

Result<std::shared_ptr<Job>> JobManager::load(const std::string& id) {
  JobState state;
  if (auto folded = fold(id, {}, state); !folded) return folded.error();
  if (!state.created()) return std::shared_ptr<Job>();  // see begin_log()
  if (is_final(state.status()) && state.open_injections().empty()) {
    return std::make_shared<Job>(id, std::move(state), catalog_, dispatcher_);
  }
  auto owned = backend_.take_over(id, encode(owner_event()));
  if (!owned) return owned.error();
  if (auto folded = fold(id, state.top(), state); !folded) return folded.error();
  const EventId top = state.top();
  auto job = std::make_shared<Job>(id, std::move(state), catalog_, dispatcher_);
  adopt(job, top);
  report(id, "recovered", job->with_state([](JobState& folded) {
    return std::string(name_of(folded.status())) + " with " +
           std::to_string(folded.told_order().size()) + " trials told";
  }));
  return job;
}

Result<void> JobManager::reopen(const std::shared_ptr<Job>& job) {
  auto owned = backend_.take_over(job->id(), encode(owner_event()));
  if (!owned) return owned.error();
  EventId top;
  auto folded = job->with_state([&](JobState& state) {
    auto read = fold(job->id(), state.top(), state);
    top = state.top();
    return read;
  });
  if (folded) adopt(job, top);
  return folded;
}

Result<JobState::Injection> JobManager::inject(const std::shared_ptr<Job>& job,
                                               InjectedEvent request) {
  {
    const std::lock_guard lock(mutex_);
    if (draining_) return Error{ErrorKind::unavailable, "the daemon is shutting down"};
  }
  {
    const std::lock_guard one_at_a_time(creating_);
    if (job->needs_log()) {
      if (auto opened = reopen(job); !opened) return opened.error();
    }
  }
  return job->inject(std::move(request));
}

void JobManager::adopt(const std::shared_ptr<Job>& job, EventId top) {
  job->attach(commits_.open(job->id(), top, job->commit_listener()), [this] { wake_starter(); });
  if (!options_.on_lifecycle) return;
  job->follow([this, id = job->id()](EventId, const Event& event) {
    std::string detail;
    if (std::holds_alternative<AskedEvent>(event.body) ||
        std::holds_alternative<ToldEvent>(event.body)) {
      return;
    }
    if (const auto* paused = std::get_if<PausedEvent>(&event.body)) detail = paused->reason;
    if (const auto* extended = std::get_if<ExtendedEvent>(&event.body)) detail = extended->reason;
    if (const auto* injected = std::get_if<InjectedEvent>(&event.body)) {
      detail = std::to_string(injected->candidates.size()) + " trials from " +
               std::to_string(injected->first) + " on";
    }
    if (const auto* finished = std::get_if<FinishedEvent>(&event.body)) {
      detail = std::string(name_of(finished->status)) + ": " + finished->reason;
    }
    report(id, name_of(event.body), detail);
  });
}

void JobManager::report(const std::string& job, std::string_view what,
                        const std::string& detail) const {
  if (options_.on_lifecycle) options_.on_lifecycle(job, what, detail);
}

Result<void> JobManager::recover() {
  auto ids = backend_.jobs();
  if (!ids) return ids.error();
  for (const std::string& id : *ids) {
    auto job = load(id);
    const std::lock_guard lock(mutex_);
    if (job) {
      if (*job) jobs_.emplace(id, std::move(*job));
    } else {
      unreadable_.emplace_back(id, job.error());
    }
  }
  wake_starter();
  return {};
}

Result<JobManager::Created> JobManager::create(JobSpec spec, const std::string& idempotency_key,
                                               const std::string& request_digest) {
  {
    const std::lock_guard lock(mutex_);
    if (draining_) return Error{ErrorKind::unavailable, "the daemon is shutting down"};
    if (jobs_.size() >= options_.max_stored_jobs) {
      return Error{ErrorKind::exhausted,
                   "the daemon already stores " + std::to_string(jobs_.size()) + " jobs"};
    }
  }
  auto imported = look_up_import(spec);
  if (!imported) return imported.error();
  const std::string id = job_id(spec, idempotency_key);
  const std::string digest = idempotency_key.empty() ? "" : request_digest;
  {
    const std::lock_guard one_at_a_time(creating_);
    auto begun = begin_log(id, {unix_ms(), CreatedEvent{spec, digest, std::move(*imported)}});
    if (!begun) {
      if (begun.error().kind == ErrorKind::conflict && !idempotency_key.empty()) {
        return repeated(id, request_digest);
      }
      return begun.error();
    }
  }
  JobState state;
  if (auto folded = fold(id, {}, state); !folded) return folded.error();
  const EventId top = state.top();
  auto job = std::make_shared<Job>(id, std::move(state), catalog_, dispatcher_);
  adopt(job, top);
  report(id, "created", job->with_state([](JobState& created) {
    return created.spec().optimizer + " on " + created.spec().evaluator;
  }));
  {
    const std::lock_guard lock(mutex_);
    jobs_.emplace(id, job);
  }
  wake_starter();
  return Created{std::move(job), true};
}

Result<std::vector<ImportedTrial>> JobManager::look_up_import(const JobSpec& spec) const {
  std::vector<ImportedTrial> imported;
  if (spec.import.job.empty()) return imported;
  const auto refuse = [](std::string message) {
    return invalid("the job spec is not valid", {{"/import/job", std::move(message)}});
  };
  const auto other = find(spec.import.job);
  if (!other) return refuse("there is no job \"" + spec.import.job + "\"");
  std::optional<Error> refusal;
  other->with_state([&](JobState& state) {
    const nlohmann::json theirs = to_json(state.spec());
    const nlohmann::json ours = to_json(spec);
    if (theirs["space"] != ours["space"] || theirs["objectives"] != ours["objectives"]) {
      refusal = refuse("its search space or objectives are not those of this job");
      return;
    }
    for (const TrialNumber number : importable(state, spec.import.trials)) {
      const TrialRecord& record = state.trials()[number - 1];
      ImportedTrial trial{record.candidate, *record.outcome};
      trial.candidate.tag = "import:" + spec.import.job + ":" + std::to_string(number);
      imported.push_back(std::move(trial));
    }
  });
  if (refusal) return *refusal;
  if (imported.empty()) return refuse("it has no successful trial yet");
  SearchProblem problem = spec.problem();
  for (const ImportedTrial& trial : imported) {
    problem.known.push_back(
        trial_view(problem.known.size() + 1, trial.candidate, trial.outcome, spec.objectives));
  }
  const Optimizer& optimizer = *catalog_.optimizer(spec.optimizer);
  if (Problems problems = optimizer.check(problem, spec.optimizer_params); !problems.empty()) {
    return invalid("the job spec is not valid", std::move(problems));
  }
  return imported;
}

Result<void> JobManager::begin_log(const std::string& id, const Event& created) {
  auto top = backend_.create(id, {encode(owner_event()), encode(created)});
  if (top) return {};
  if (top.error().kind != ErrorKind::conflict) return top.error();
  // A crash in the middle of creating leaves a log that holds owners only.  Nobody was told of
  // that job, so whoever asks for it again completes it.
  JobState state;
  if (auto folded = fold(id, {}, state); !folded) return folded.error();
  if (state.created()) return top.error();
  auto owned = backend_.take_over(id, encode(owner_event()));
  if (!owned) return owned.error();
  const Batch rest{id, *owned, {owned->epoch, owned->number + 1}, {encode(created)}};
  return backend_.write({&rest, 1}).front();
}

Result<JobManager::Created> JobManager::repeated(const std::string& id,
                                                 const std::string& request_digest) {
  auto job = find(id);
  if (!job) {
    return Error{ErrorKind::unavailable,
                 "another request with this Idempotency-Key is being carried out"};
  }
  const bool same =
      job->with_state([&](JobState& state) { return state.request_digest() == request_digest; });
  if (!same) {
    return Error{ErrorKind::conflict,
                 "this Idempotency-Key was used before with another request body"};
  }
  return Created{std::move(job), false};
}

std::shared_ptr<Job> JobManager::find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = jobs_.find(id);
  return found == jobs_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<Job>> JobManager::list() const {
  std::vector<std::pair<std::int64_t, std::shared_ptr<Job>>> dated;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, job] : jobs_) dated.emplace_back(0, job);
  }
  for (auto& [created, job] : dated) {
    created = job->with_state([](JobState& state) { return state.created_ms(); });
  }
  std::sort(dated.begin(), dated.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second->id() < b.second->id();
  });
  std::vector<std::shared_ptr<Job>> jobs;
  for (auto& [created, job] : dated) jobs.push_back(std::move(job));
  return jobs;
}

void JobManager::start_queued() {
  // Oldest first.
  std::vector<std::shared_ptr<Job>> jobs = list();
  auto active = static_cast<std::size_t>(
      std::count_if(jobs.begin(), jobs.end(), [](const auto& job) { return job->run_active(); }));
  for (auto job = jobs.rbegin(); job != jobs.rend(); ++job) {
    {
      const std::lock_guard lock(mutex_);
      if (draining_ || active >= options_.max_active_jobs) return;
    }
    if ((*job)->wants_to_run()) {
      (*job)->start();
      if ((*job)->run_active()) ++active;
    }
    (*job)->resume_injections();
    const std::string trouble = (*job)->trouble();
    if (!trouble.empty() && troubled_.insert((*job)->id()).second) {
      report((*job)->id(), "blocked", trouble);
    }
  }
}

void JobManager::drain(double seconds) {
  std::vector<std::shared_ptr<Job>> jobs;
  {
    const std::lock_guard lock(mutex_);
    if (draining_) return;
    draining_ = true;
    for (const auto& [id, job] : jobs_) jobs.push_back(job);
  }
  starter_.request_stop();
  if (starter_.joinable()) starter_.join();
  dispatcher_.stop_dispatching();
  dispatcher_.wait_idle(seconds);
  for (const auto& job : jobs) job->retire();
}

}  // namespace paretod
