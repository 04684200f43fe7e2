#include "daemon/jobs/job.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <exception>

#include "daemon/jobs/journalled_evaluations.hpp"
#include "daemon/jobs/racing.hpp"

namespace paretod {
namespace {

/// Outcomes that JobSpec::max_failure_share is of.
constexpr std::size_t failure_window = 50;

Error not_allowed(const std::string& verb, JobStatus status) {
  return Error{ErrorKind::conflict, "the job cannot be " + verb + ": it is " +
                                        std::string(name_of(status)) + " for good"};
}

/// What an evaluator must not say becomes a failure that names the field.
Outcome checked(Outcome outcome, const std::vector<Objective>& objectives) {
  std::erase_if(outcome.metrics, [](const auto& metric) { return !std::isfinite(metric.second); });
  // By name, as they read back from the log: a replay must see them in the same order.
  std::sort(outcome.metrics.begin(), outcome.metrics.end());
  if (!std::isfinite(outcome.cost.seconds) || outcome.cost.seconds < 0) outcome.cost.seconds = 0;
  if (outcome.status != TrialStatus::ok || outcome.examples.size() != objectives.size()) {
    outcome.examples.clear();
  }
  if (outcome.status != TrialStatus::ok) return outcome;
  std::string wrong;
  if (outcome.objectives.size() != objectives.size()) {
    wrong = "the evaluator reported " + std::to_string(outcome.objectives.size()) +
            " objectives instead of " + std::to_string(objectives.size());
  }
  for (std::size_t i = 0; wrong.empty() && i < objectives.size(); ++i) {
    Measurement& m = outcome.objectives[i];
    if (!std::isfinite(m.value)) wrong = "objective \"" + objectives[i].name + "\" is not finite";
    if (!std::isfinite(m.standard_error)) m.standard_error = -1;
  }
  for (const double g : outcome.constraints) {
    if (!std::isfinite(g)) wrong = "a constraint is not finite";
  }
  if (wrong.empty()) return outcome;
  Outcome failed = Outcome::failure(TrialStatus::failed, std::move(wrong));
  failed.cost = outcome.cost;
  failed.attempts = outcome.attempts;
  return failed;
}

/// Whether the same candidate would come to the same outcome again.
bool is_reusable(const Outcome& outcome) {
  return outcome.status == TrialStatus::ok || outcome.status == TrialStatus::infeasible;
}

}  // namespace

Job::Job(std::string id, JobState state, const Catalog& catalog, Dispatcher& dispatcher)
    : id_(std::move(id)),
      catalog_(catalog),
      dispatcher_(dispatcher),
      state_(std::move(state)),
      asked_(state_.trials().size()),
      injected_(state_.injected()),
      spent_(state_.spent()),
      context_(std::make_shared<EvaluationContext>(
          EvaluationContext{id_, state_.spec().space, state_.spec().objectives,
                            state_.spec().evaluator_params, state_.spec().seed})) {
  for (const Resource resource : all_resources) {
    announced_[static_cast<std::size_t>(resource)] = state_.announced(resource);
  }
}

// An evaluator's reply or a commit may hold the last reference, on its own thread and after the
// manager is gone, so nothing of the manager's may be touched here.
Job::~Job() {
  assert(!thread_.joinable());
}

void Job::attach(std::shared_ptr<GroupCommit::Log> log, std::function<void()> on_settled) {
  const std::lock_guard lock(mutex_);
  log_ = std::move(log);
  on_settled_ = std::move(on_settled);
}

CommitListener Job::commit_listener() {
  return [weak = weak_from_this()](const Result<EventId>& last, std::size_t events) {
    if (const auto job = weak.lock()) job->on_commit(last, events);
  };
}

JobStatus Job::status() const {
  const std::lock_guard lock(mutex_);
  if (state_.status() == JobStatus::running && !started_) return JobStatus::queued;
  return state_.status();
}

std::string Job::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

std::size_t Job::in_flight() const {
  const std::lock_guard lock(mutex_);
  return in_flight_.size();
}

bool Job::wants_to_run() const {
  const std::lock_guard lock(mutex_);
  return state_.status() == JobStatus::running && !run_active_ && !pausing_ && trouble_.empty() &&
         log_;
}

bool Job::run_active() const {
  const std::lock_guard lock(mutex_);
  return run_active_;
}

// ---- the run -----------------------------------------------------------------------------------

void Job::start() {
  const std::lock_guard verbs(verbs_);
  start_run();
}

void Job::start_run() {
  if (!wants_to_run()) return;
  if (thread_.joinable()) thread_.join();
  std::unique_lock lock(mutex_);
  const JobSpec& spec = state_.spec();
  const Optimizer* optimizer = catalog_.optimizer(spec.optimizer);
  if (optimizer == nullptr) {
    trouble_ = "this build has no optimizer \"" + spec.optimizer + "\"";
  } else if (optimizer->revision != spec.optimizer_revision) {
    trouble_ = "the job was started with revision " + std::to_string(spec.optimizer_revision) +
               " of optimizer \"" + spec.optimizer + "\", this build has revision " +
               std::to_string(optimizer->revision);
  } else if (const auto joined = join_dispatcher(); !joined) {
    trouble_ = joined.error().message;
  }
  if (!trouble_.empty()) {
    changed_.notify_all();
    return;
  }
  const std::size_t parallelism = state_.parallelism();
  std::vector<WorkItem> injections = take_injections();
  const Spend caps = state_.budget().caps;
  stop_requested_ = false;
  recent_failures_.clear();
  run_active_ = true;
  started_ = true;
  lock.unlock();
  dispatcher_.set_caps(client_, caps);
  dispatcher_.set_parallelism(client_, parallelism);
  if (!injections.empty()) dispatcher_.enqueue(client_, std::move(injections));
  thread_ = std::thread([this] { run(); });
}

void Job::retire() {
  const std::lock_guard verbs(verbs_);
  stop_run();
  if (has_client_) dispatcher_.remove_client(client_);
  has_client_ = false;
}

void Job::stop_run() {
  {
    const std::lock_guard lock(mutex_);
    stop_requested_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Job::run() {
  FinishedEvent finished;
  bool ended = true;
  try {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stop_requested_ || committed_ == appended_; });
      if (stop_requested_) throw SearchStopped{};
    }
    JournalledEvaluations evaluations(*this);
    const SearchProblem problem = with_state([](JobState& state) { return state.problem(); });
    const JobSpec& spec = state_.spec();  // never changes once created
    finished.report = run_search(problem, spec, *catalog_.optimizer(spec.optimizer), evaluations);
    finished.reason = finished.report.stop_reason;
  } catch (const SearchStopped&) {
    ended = false;
  } catch (const Diverged& diverged) {
    finished = {JobStatus::diverged, diverged.message, {}};
  } catch (const std::exception& error) {
    finished = {JobStatus::failed, std::string("the optimizer failed: ") + error.what(), {}};
  }
  const std::vector<TrialNumber> withdrawn = dispatcher_.withdraw(client_);
  std::function<void()> settled;
  std::vector<WorkItem> injections;
  {
    std::unique_lock lock(mutex_);
    for (const TrialNumber number : withdrawn) in_flight_.erase(number);
    followers_of_.clear();
    first_instead_of_.clear();
    // If the log cannot be written any more, trouble_ already says so.
    if (ended && !ending_) static_cast<void>(append_and_wait(lock, std::move(finished)));
    run_active_ = false;
    // They were withdrawn with the search's own.
    if (is_final(state_.status())) injections = take_injections();
    settled = on_settled_;
  }
  if (!injections.empty()) dispatcher_.enqueue(client_, std::move(injections));
  changed_.notify_all();
  if (settled) settled();
}

// ---- what the dispatcher tells -----------------------------------------------------------------

bool Job::takes_outcome_of(TrialNumber number) const {
  const bool told = number <= state_.trials().size() && state_.trials()[number - 1].outcome;
  return !told && !telling_.contains(number) && number <= asked_;
}

void Job::append_told(Completion done, bool lazily) {
  if (const auto stopped = stopped_.find(done.number); stopped != stopped_.end()) {
    if (done.outcome.status != TrialStatus::ok) {
      const Spend cost = done.outcome.cost;
      const std::uint32_t attempts = done.outcome.attempts;
      done.outcome = std::move(stopped->second.partial);
      done.outcome.reason.clear();
      done.outcome.metrics.emplace_back("stopped_at", stopped->second.done);
      done.outcome.cost = cost;
      done.outcome.attempts = attempts;
    }
    stopped_.erase(stopped);
  }
  ToldEvent told{done.number, checked(std::move(done.outcome), state_.spec().objectives)};
  const TrialStatus status = told.outcome.status;
  recent_failures_.push_back(status == TrialStatus::failed || status == TrialStatus::unknown);
  if (recent_failures_.size() > failure_window) recent_failures_.pop_front();
  telling_.insert(done.number);
  const Spend cost = told.outcome.cost;
  append({0, std::move(told)}, lazily);
  account(cost);
}

void Job::complete(std::vector<Completion> completions) {
  const std::lock_guard lock(mutex_);
  if (!trouble_.empty()) return;
  const bool over = this->over();
  if (!over) enforce_wall_budget();
  std::erase_if(completions, [this, over](const Completion& done) {
    if (takes_outcome_of(done.number)) return !is_wanted(done.number);
    if (over) return true;
    // What it cost counts all the same.
    const Outcome& outcome = done.outcome;
    append({0, EndedEvent{done.number, outcome.attempts, AttemptEnd::surplus, "",
                          "another attempt's result came first", outcome.cost}});
    account(outcome.cost);
    return true;
  });
  for (Completion& done : completions) {
    // The last one lets the others go with it.
    const bool lazily = &done != &completions.back();
    append_told(std::move(done), lazily);
  }
  if (!over) pause_if_failing();
}

Job::Late Job::complete_late(TrialNumber number, std::uint32_t attempt, Outcome outcome) {
  {
    const std::lock_guard lock(mutex_);
    if (number < 1 || number > asked_) return Late::unknown;
    if (!takes_outcome_of(number)) return Late::duplicate;
    if (!trouble_.empty() || !is_wanted(number)) return Late::unknown;
    outcome.attempts = attempt;
    append_told({number, std::move(outcome)}, /*lazily=*/false);
    if (!has_client_) return Late::accepted;
  }
  // Another attempt may wait or run.
  dispatcher_.cancel_trial(client_, number);
  return Late::accepted;
}

bool Job::is_told(TrialNumber number) const {
  const std::lock_guard lock(mutex_);
  return number >= 1 && number <= asked_ && !takes_outcome_of(number);
}

bool Job::has_open(TrialNumber number, std::uint32_t attempt) const {
  const std::lock_guard lock(mutex_);
  const auto found = state_.attempts().find(number);
  return found != state_.attempts().end() && found->second.open &&
         found->second.started == attempt && is_wanted(number);
}

void Job::start(std::vector<Start> starts, std::function<void(bool)> durable) {
  std::vector<WorkItem> again;
  {
    const std::lock_guard lock(mutex_);
    const auto may_begin = [this](const Start& start) { return is_wanted(start.number); };
    const bool writable = trouble_.empty() && log_;
    if (writable && std::all_of(starts.begin(), starts.end(), may_begin)) {
      for (Start& start : starts) {
        append({0, StartedEvent{start.number, start.attempt, std::move(start.worker), start.hold}},
               /*lazily=*/&start != &starts.back());
      }
      when_committed_.emplace_back(appended_, std::move(durable));
      return;
    }
    // What the search had in flight when it ended takes injected trials down with it.
    for (const Start& start : starts) {
      if (writable && may_begin(start)) in_flight_.erase(start.number);
    }
    if (writable && is_final(state_.status())) again = take_injections();
  }
  durable(false);
  if (!again.empty()) dispatcher_.enqueue(client_, std::move(again));
}

void Job::when_durable(std::function<void(bool)> then) {
  bool durable = false;
  {
    const std::lock_guard lock(mutex_);
    durable = committed_ >= urgent_;
    if (!durable && trouble_.empty() && log_) {
      when_committed_.emplace_back(urgent_, std::move(then));
      return;
    }
  }
  then(durable);
}

void Job::ended(std::vector<Ended> ended) {
  const std::lock_guard lock(mutex_);
  if (!trouble_.empty()) return;
  std::erase_if(ended, [this](const Ended& end) { return !is_wanted(end.number); });
  for (Ended& end : ended) {
    append({0, EndedEvent{end.number, end.attempt, end.end, std::move(end.worker),
                          std::move(end.reason), end.cost}},
           /*lazily=*/&end != &ended.back());
    account(end.cost);
  }
}

void Job::progress(std::vector<EvaluationReply> replies, std::vector<TrialNumber> numbers) {
  std::vector<TrialNumber> dominated;
  {
    const std::lock_guard lock(mutex_);
    const RacingPolicy& racing = state_.spec().racing;
    for (std::size_t i = 0; i < replies.size(); ++i) {
      const TrialNumber number = numbers[i];
      if (!takes_outcome_of(number) || stopped_.contains(number)) continue;
      // Who works for long should be seen at work.
      if (number > state_.trials().size() && log_) log_->flush();
      Progress& progress = progress_[number];
      progress = {replies[i].done, std::move(replies[i].outcome)};
      const bool injected =
          number <= state_.trials().size() && state_.trials()[number - 1].injected;
      if (injected || !clearly_dominated(progress.partial, state_, racing)) continue;
      stopped_.emplace(number, progress);
      dominated.push_back(number);
    }
  }
  for (const TrialNumber number : dominated) dispatcher_.cancel_trial(client_, number);
}

std::optional<Job::Progress> Job::progress_of(TrialNumber number) const {
  const std::lock_guard lock(mutex_);
  const auto found = progress_.find(number);
  return found == progress_.end() ? std::nullopt : std::optional(found->second);
}

bool Job::reuse(TrialNumber first, WorkItem item) {
  for (auto next = first_instead_of_.find(first); next != first_instead_of_.end();
       next = first_instead_of_.find(first)) {
    first = next->second;
  }
  if (first <= state_.trials().size() && state_.trials()[first - 1].outcome) {
    const Outcome& outcome = *state_.trials()[first - 1].outcome;
    if (!is_reusable(outcome)) return false;
    append_same(item.number, first, outcome);
    return true;
  }
  if (!in_flight_.contains(first) && !telling_.contains(first)) return false;
  followers_of_[first].push_back(std::move(item));
  return true;
}

WorkItem Job::lead(TrialNumber failed, std::vector<WorkItem> followers) {
  WorkItem first = std::move(followers.front());
  followers.erase(followers.begin());
  in_flight_.insert(first.number);
  first_instead_of_[failed] = first.number;
  if (!followers.empty()) followers_of_[first.number] = std::move(followers);
  return first;
}

void Job::append_same(TrialNumber number, TrialNumber first, Outcome outcome) {
  outcome.same_as = first;
  outcome.attempts = 0;
  outcome.cost = {};
  telling_.insert(number);
  append({0, ToldEvent{number, std::move(outcome)}});
}

void Job::out_of_budget(Resource resource) {
  {
    const std::lock_guard lock(mutex_);
    append_pause(PauseCause::budget, "the budget's " + std::string(name_of(resource)) +
                                         " has no room for another evaluation; extend it to go on");
    if (!is_final(state_.status())) return;
  }
  refuse_injections(resource);
}

void Job::account(const Spend& cost) {
  spent_ += cost;
  for (const Resource resource : all_resources) {
    const double cap = amount_of(state_.budget().caps, resource);
    if (cap <= 0) continue;
    const double spent = amount_of(spent_, resource);
    const int percent = spent >= cap ? 100 : spent >= 0.8 * cap ? 80 : 0;
    int& announced = announced_[static_cast<std::size_t>(resource)];
    if (percent <= announced) continue;
    announced = percent;
    append({0, BudgetEvent{resource, percent}});
  }
}

void Job::append_pause(PauseCause cause, std::string reason) {
  if (!run_active_ || pausing_ || stop_requested_) return;
  pausing_ = true;
  append({0, PausedEvent{std::move(reason), cause}});
}

void Job::pause_if_failing() {
  const auto failed = std::count(recent_failures_.begin(), recent_failures_.end(), true);
  const double allowed = state_.spec().max_failure_share * failure_window;
  if (static_cast<double>(failed) <= allowed) return;
  append_pause(PauseCause::failures,
               std::to_string(failed) + " of the last " + std::to_string(recent_failures_.size()) +
                   " trials failed; look at their reasons (paretod trials JOB), mend the "
                   "evaluator and resume the job");
}

void Job::enforce_wall_budget() {
  const double wall = state_.budget().wall_s;
  if (wall <= 0 || wall_enforced_at_ == wall) return;
  const std::int64_t since = state_.status() == JobStatus::running
                                 ? std::max<std::int64_t>(0, unix_ms() - state_.updated_ms())
                                 : 0;
  if (static_cast<double>(state_.running_ms() + since) < wall * 1000) return;
  wall_enforced_at_ = wall;
  append({0, ExtendedEvent{.trials = asked_ - injected_ - state_.imported(),
                           .wall_s = {},
                           .parallelism = {},
                           .reason = "the wall time budget is spent"}});
}

// ---- the log -----------------------------------------------------------------------------------

void Job::append(Event event, bool lazily) {
  if (!log_ || !trouble_.empty() || !state_.may_follow(event.body)) return;
  if (ending_) {
    // Behind the end, before it is committed: only what injected trials have come to.
    const auto* told = std::get_if<ToldEvent>(&event.body);
    if (told == nullptr || !is_wanted(told->number)) return;
  }
  event.time_ms = unix_ms();
  if (const auto* finished = std::get_if<FinishedEvent>(&event.body)) {
    ending_ = true;
    cancelling_ = finished->status == JobStatus::cancelled;
  }
  if (const auto* asked = std::get_if<AskedEvent>(&event.body)) asked_ = asked->number;
  if (const auto* injected = std::get_if<InjectedEvent>(&event.body)) {
    asked_ += injected->candidates.size();
    injected_ += injected->candidates.size();
  }
  std::string text = encode(event);
  uncommitted_.push_back(std::move(event));
  ++appended_;
  if (lazily) {
    log_->append_lazily(std::move(text));
  } else {
    urgent_ = appended_;
    log_->append(std::move(text));
  }
}

Result<void> Job::append_and_wait(std::unique_lock<std::mutex>& lock, EventBody body) {
  append({0, std::move(body)});
  const std::uint64_t target = appended_;
  changed_.wait(lock, [&] { return committed_ >= target || !trouble_.empty(); });
  if (committed_ >= target && trouble_.empty()) return {};
  return Error{ErrorKind::unavailable, "the job's log cannot be written: " + trouble_};
}

void Job::on_commit(const Result<EventId>& last, std::size_t events) {
  std::vector<std::function<void(bool)>> due;
  std::vector<WorkItem> to_evaluate;
  {
    const std::lock_guard lock(mutex_);
    if (!last) {
      trouble_ = last.error().message;
      stop_requested_ = true;
      log_.reset();
      for (auto& [target, then] : when_committed_) due.push_back(std::move(then));
      when_committed_.clear();
    } else {
      for (std::size_t i = 0; i < events; ++i) {
        const Event event = std::move(uncommitted_.front());
        uncommitted_.pop_front();
        const EventId id{last->epoch, last->number - events + 1 + i};
        if (const auto applied = state_.apply(id, event); !applied) {
          trouble_ = applied.error().message;
          stop_requested_ = true;
        }
        if (const auto* told = std::get_if<ToldEvent>(&event.body)) {
          in_flight_.erase(told->number);
          telling_.erase(told->number);
          progress_.erase(told->number);
          if (auto followers = followers_of_.extract(told->number)) {
            if (is_reusable(told->outcome)) {
              for (const WorkItem& item : followers.mapped()) {
                append_same(item.number, told->number, told->outcome);
              }
            } else {
              to_evaluate.push_back(lead(told->number, std::move(followers.mapped())));
            }
          }
        }
        if (std::holds_alternative<PausedEvent>(event.body)) {
          stop_requested_ = true;
          pausing_ = false;
        }
        if (std::holds_alternative<FinishedEvent>(event.body)) ending_ = false;
        for (const auto& [token, follower] : event_followers_) follower(id, event);
      }
      committed_ += events;
      while (!when_committed_.empty() && when_committed_.front().first <= committed_) {
        due.push_back(std::move(when_committed_.front().second));
        when_committed_.pop_front();
      }
    }
  }
  changed_.notify_all();
  if (!to_evaluate.empty()) dispatcher_.enqueue(client_, std::move(to_evaluate));
  for (const auto& then : due) then(last.ok());
}

// ---- verbs -------------------------------------------------------------------------------------

Result<void> Job::pause(const std::string& reason) {
  const std::lock_guard verbs(verbs_);
  {
    std::unique_lock lock(mutex_);
    if (is_final(state_.status()) || ending_) return not_allowed("paused", state_.status());
    if (state_.status() == JobStatus::paused) return {};
    if (auto written = append_and_wait(lock, PausedEvent{reason}); !written) return written;
    stop_requested_ = true;
  }
  changed_.notify_all();
  return {};
}

Result<void> Job::resume() {
  const std::lock_guard verbs(verbs_);
  {
    std::unique_lock lock(mutex_);
    if (is_final(state_.status()) || ending_) return not_allowed("resumed", state_.status());
    if (state_.status() == JobStatus::paused) {
      if (auto written = append_and_wait(lock, ResumedEvent{}); !written) return written;
    }
  }
  start_run();
  const std::lock_guard lock(mutex_);
  if (trouble_.empty()) return {};
  return Error{ErrorKind::conflict, trouble_};
}

Result<void> Job::cancel() {
  const std::lock_guard verbs(verbs_);
  {
    std::unique_lock lock(mutex_);
    if (state_.status() == JobStatus::cancelled) return {};
    if (is_final(state_.status()) || ending_) return not_allowed("cancelled", state_.status());
    auto written =
        append_and_wait(lock, FinishedEvent{JobStatus::cancelled, "cancelled on request", {}});
    if (!written) return written;
    stop_requested_ = true;
    in_flight_.clear();
  }
  changed_.notify_all();
  if (has_client_) dispatcher_.cancel(client_);
  return {};
}

Result<void> Job::extend(const ExtendedEvent& limits) {
  const std::lock_guard verbs(verbs_);
  std::unique_lock lock(mutex_);
  if (is_final(state_.status()) || ending_) return not_allowed("extended", state_.status());
  if (auto written = append_and_wait(lock, limits); !written) return written;
  for (const Resource resource : all_resources) {
    announced_[static_cast<std::size_t>(resource)] = state_.announced(resource);
  }
  account({});
  const Spend caps = state_.budget().caps;
  const bool waits_for_budget =
      state_.status() == JobStatus::paused && state_.pause_cause() == PauseCause::budget;
  if (waits_for_budget) {
    if (auto written = append_and_wait(lock, ResumedEvent{}); !written) return written;
  }
  lock.unlock();
  if (has_client_) dispatcher_.set_caps(client_, caps);
  if (waits_for_budget) start_run();
  return {};
}

void Job::wait(const std::function<bool(JobStatus)>& predicate) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    return is_final(state_.status()) || !trouble_.empty() || predicate(state_.status());
  });
}

std::uint64_t Job::follow(EventFollower follower) {
  const std::lock_guard lock(mutex_);
  event_followers_.emplace_back(next_follower_, std::move(follower));
  return next_follower_++;
}

void Job::unfollow(std::uint64_t token) {
  const std::lock_guard lock(mutex_);
  std::erase_if(event_followers_, [token](const auto& entry) { return entry.first == token; });
}

}  // namespace paretod
