#include "daemon/worker/worker.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <random>
#include <thread>
#include <utility>

#include "daemon/worker/backoff.hpp"
#include "daemon/worker/request_reader.hpp"

namespace paretod {
namespace {

constexpr double first_pause_s = 0.2;
constexpr double request_timeout_s = 15;
/// Beyond this, leases that are not given back lapse by themselves.
constexpr double give_back_timeout_s = 5;
/// How long the long poll may take to end after it was asked to.
constexpr double poll_end_s = 2;
/// Progress need not wait for the next heartbeat that is due anyway.
constexpr double least_beat_s = 1;
constexpr double status_line_s = 10;
constexpr std::size_t most_results = 32;
/// Of messages: far below what a daemon takes in one request.
constexpr std::size_t most_result_bytes = std::size_t{128} << 10;

std::chrono::steady_clock::duration seconds(double count) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(count));
}

/// 128 random bits.
std::string random_key() {
  std::random_device random;
  std::string key;
  for (int i = 0; i < 4; ++i) {
    std::array<char, 9> word{};
    std::snprintf(word.data(), word.size(), "%08x", static_cast<unsigned>(random()));
    key += word.data();
  }
  return key;
}

bool may_pass(const Error& error) {
  return error.kind == ErrorKind::unavailable || error.kind == ErrorKind::exhausted ||
         error.kind == ErrorKind::internal;
}

/// The end of attempts that cost money and were left in the middle.
std::vector<EvaluationReply> cut_off(const std::vector<std::uint64_t>& tickets) {
  std::vector<EvaluationReply> replies;
  for (const std::uint64_t ticket : tickets) {
    EvaluationReply reply;
    reply.ticket = ticket;
    reply.outcome = Outcome::failure(
        TrialStatus::unknown, "the worker was stopped while an attempt ran that costs money");
    replies.push_back(std::move(reply));
  }
  return replies;
}

bool is_measured(const EvaluationReply& reply) {
  return reply.kind == ReplyKind::done && (reply.outcome.status == TrialStatus::ok ||
                                           reply.outcome.status == TrialStatus::infeasible);
}

}  // namespace

Worker::Worker(WorkerOptions options, std::unique_ptr<Evaluator> evaluator, Spool& spool,
               Connect connect, Say say)
    : options_(std::move(options)),
      evaluator_(std::move(evaluator)),
      spool_(spool),
      connect_(std::move(connect)),
      say_(std::move(say)),
      ttl_s_(options_.ttl_s) {}

Worker::~Worker() = default;

Result<void> Worker::run() {
  idle_since_ = said_ = Clock::now();
  std::thread leasing([this] { lease_loop(); });
  std::thread beating([this] { beat_loop(); });
  std::thread reporting([this] { report_loop(); });
  std::thread ending([this] { end_poll(); });
  supervise();
  give_back();
  {
    const std::lock_guard lock(mutex_);
    stage_ = Stage::over;
  }
  changed_.notify_all();
  leasing.join();
  beating.join();
  reporting.join();
  ending.join();
  evaluator_.reset();
  keep(std::exchange(finished_, {}));
  say_(std::to_string(ended_) + " attempts ended");
  if (refusal_) return *refusal_;
  return {};
}

void Worker::stop() {
  drain(options_.grace_s, false);
}

void Worker::abandon() {
  drain(0, true);
}

void Worker::drain(double grace_s, bool abandoned) {
  {
    const std::lock_guard lock(mutex_);
    abandoned_ = abandoned_ || abandoned;
    if (stage_ == Stage::working) {
      stage_ = Stage::draining;
      grace_end_ = Clock::now() + seconds(grace_s);
    }
  }
  changed_.notify_all();
}

LeaseApi Worker::connect(double timeout_s, std::function<bool()> cancelled) const {
  HttpClientOptions options;
  options.timeout_s = timeout_s;
  options.cancelled = std::move(cancelled);
  return {connect_(std::move(options)), options_.name};
}

bool Worker::pause(double length_s, Stage stage) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, seconds(length_s), [&] { return stage_ != stage; });
}

void Worker::note_answer(const Error* error) {
  if (error == nullptr) {
    if (away_.exchange(false)) say_("the daemon answers again");
  } else if (!away_.exchange(true)) {
    say_(error->message + "; trying on");
  }
}

void Worker::supervise() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (!finished_.empty()) {
      const auto replies = std::exchange(finished_, {});
      lock.unlock();
      keep(replies);
      lock.lock();
      idle_since_ = Clock::now();
      continue;
    }
    const auto look = next_look();
    const bool due = look && Clock::now() >= *look;
    if (stage_ == Stage::draining && (due || drained())) return;
    if (due) {
      stage_ = Stage::draining;
      grace_end_ = Clock::now() + seconds(options_.grace_s);
      say_("nothing to do; ending");
      changed_.notify_all();
    } else if (look) {
      changed_.wait_until(lock, *look);
    } else {
      changed_.wait(lock);
    }
  }
}

std::optional<Worker::Clock::time_point> Worker::next_look() const {
  if (stage_ == Stage::draining) return grace_end_;
  if (!options_.idle_exit_s || held_.running_count() > 0) return {};
  return idle_since_ + seconds(*options_.idle_exit_s);
}

bool Worker::drained() const {
  if (abandoned_) return true;
  return held_.running_count() == 0 && !leasing_ && spool_.pending_count() == 0;
}

void Worker::keep(const std::vector<EvaluationReply>& replies) {
  std::vector<SpooledResult> results;
  for (const EvaluationReply& reply : replies) {
    // What was given back gets another attempt elsewhere; that it was cut off here is no result.
    if (gave_back_ && !is_measured(reply)) continue;
    auto result = held_.finish(reply);
    if (!result) continue;
    results.push_back(std::move(*result));
    if (!is_measured(reply)) say_("an attempt failed: " + reply.outcome.reason);
  }
  if (results.empty()) return;
  const std::size_t count = results.size();
  if (const auto kept = spool_.add(std::move(results)); !kept) {
    say_(kept.error().message + "; results that are not reported yet end with this process");
  }
  {
    const std::lock_guard lock(mutex_);
    ended_ += count;
    if (Clock::now() >= said_ + seconds(status_line_s)) {
      said_ = Clock::now();
      say_(std::to_string(ended_) + " attempts ended, " + std::to_string(held_.running_count()) +
           " running");
    }
  }
  changed_.notify_all();
}

void Worker::give_back() {
  const std::vector<std::string> leases = held_.running();
  if (leases.empty()) return;
  std::vector<std::uint64_t> tickets;
  for (const std::string& lease : leases) {
    if (const auto ticket = held_.ticket_of(lease)) tickets.push_back(*ticket);
  }
  LeaseApi api = connect(give_back_timeout_s, {});
  if (evaluator_->describe().paid) {
    // Given back, they would be paid for a second time.
    keep(cut_off(tickets));
    std::size_t most = most_results;
    report(api, most);
  }
  {
    const std::lock_guard lock(mutex_);
    gave_back_ = true;
  }
  for (const std::uint64_t ticket : tickets) evaluator_->cancel(ticket);
  const std::vector<std::string> unpaid = held_.running();
  if (unpaid.empty()) return;
  const auto released = api.release(unpaid);
  say_(released ? std::to_string(unpaid.size()) + " attempts given back"
                : "giving attempts back: " + released.error().message);
}

void Worker::lease_loop() {
  LeaseApi poll = connect(options_.wait_s + request_timeout_s,
                          [this] { return cut_poll_ || stage_ == Stage::over; });
  LeaseApi api = connect(request_timeout_s, [this] { return stage_ == Stage::over; });
  RequestReader reader(api, *evaluator_);
  Backoff haste(first_pause_s, options_.longest_pause_s);
  while (const std::size_t free = wait_for_free_slots()) {
    LeaseRequest request{.evaluator = options_.evaluator,
                         .job = options_.job,
                         .count = free,
                         .wait_s = options_.wait_s,
                         .ttl_s = options_.ttl_s,
                         .key = random_key()};
    const auto asked = Clock::now();
    auto grant = lease(poll, request);
    if (stage_ != Stage::working) {
      // Whether it was granted anything, an answer that was cut off does not tell.
      request.wait_s = 0;
      if (!grant) grant = api.lease(request);
      release_all(api, grant);
    } else if (!grant) {
      const std::lock_guard lock(mutex_);
      refusal_ = grant.error();
      stage_ = Stage::draining;
      grace_end_ = Clock::now() + seconds(options_.grace_s);
    } else if (!grant->leases.empty()) {
      haste.reset();
      begin(reader, *grant);
    } else if (Clock::now() - asked < seconds(options_.wait_s / 2)) {
      pause(haste.next_s(), Stage::working);  // a daemon that does not let wait
    }
  }
  {
    const std::lock_guard lock(mutex_);
    leasing_ = false;
  }
  changed_.notify_all();
}

void Worker::end_poll() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stage_ != Stage::working; });
    if (!leasing_) return;
  }
  // A worker's new request ends the wait of the one before, whose answer tells what was granted.
  LeaseApi api = connect(give_back_timeout_s, [this] { return stage_ == Stage::over; });
  release_all(api, api.lease({.evaluator = options_.evaluator,
                              .job = options_.job,
                              .count = 1,
                              .wait_s = 0,
                              .ttl_s = options_.ttl_s,
                              .key = random_key()}));
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, seconds(poll_end_s), [this] { return !leasing_; });
  cut_poll_ = true;
}

void Worker::release_all(LeaseApi& api, const Result<LeaseGrant>& grant) {
  if (!grant || grant->leases.empty()) return;
  std::vector<std::string> leases;
  for (const GrantedLease& lease : grant->leases) leases.push_back(lease.token);
  static_cast<void>(api.release(leases));  // else they lapse
}

std::size_t Worker::wait_for_free_slots() {
  std::unique_lock lock(mutex_);
  std::size_t running = 0;
  changed_.wait(lock, [&] {
    running = held_.running_count();
    return stage_ != Stage::working || running < options_.slots;
  });
  return stage_ == Stage::working ? options_.slots - running : 0;
}

Result<LeaseGrant> Worker::lease(LeaseApi& api, const LeaseRequest& request) {
  Backoff backoff(first_pause_s, options_.longest_pause_s);
  while (true) {
    auto grant = api.lease(request);
    if (stage_ != Stage::working) return grant;
    note_answer(grant ? nullptr : &grant.error());
    if (grant || !may_pass(grant.error()) || !pause(backoff.next_s(), Stage::working)) {
      return grant;
    }
  }
}

Result<EvaluationRequest> Worker::read(RequestReader& reader, const GrantedLease& lease,
                                       Clock::time_point until) {
  Backoff backoff(first_pause_s, options_.longest_pause_s);
  while (true) {
    auto request = reader.read(lease);
    if (request || !may_pass(request.error())) return request;
    const double wait_s = backoff.next_s();
    if (Clock::now() + seconds(wait_s) > until || !pause(wait_s, Stage::working)) return request;
  }
}

void Worker::begin(RequestReader& reader, const LeaseGrant& grant) {
  std::vector<EvaluationRequest> requests;
  std::vector<EvaluationReply> failures;
  // Held first, so that they do not lapse while the daemon is asked what their jobs are like.
  std::vector<std::uint64_t> tickets;
  for (const GrantedLease& lease : grant.leases)
    tickets.push_back(held_.add(lease.token, lease.id));
  {
    const std::lock_guard lock(mutex_);
    ttl_s_ = grant.ttl_s;
  }
  changed_.notify_all();
  const auto asked_until = Clock::now() + seconds(grant.ttl_s);
  for (std::size_t i = 0; i < tickets.size(); ++i) {
    auto request = read(reader, grant.leases[i], asked_until);
    if (request) {
      held_.set_objectives(tickets[i], request->context->objectives);
      request->ticket = tickets[i];
      requests.push_back(std::move(*request));
    } else {
      EvaluationReply failure;
      failure.ticket = tickets[i];
      failure.kind = may_pass(request.error()) ? ReplyKind::transient : ReplyKind::fault;
      failure.outcome = Outcome::failure(TrialStatus::failed, request.error().text());
      failures.push_back(std::move(failure));
    }
  }
  if (!failures.empty()) on_replies(std::move(failures));
  if (requests.empty()) return;
  evaluator_->evaluate(std::move(requests), [this](std::vector<EvaluationReply> replies) {
    on_replies(std::move(replies));
  });
}

void Worker::on_replies(std::vector<EvaluationReply> replies) {
  {
    const std::lock_guard lock(mutex_);
    for (EvaluationReply& reply : replies) {
      if (reply.kind == ReplyKind::progress) {
        held_.note_progress(reply);
      } else {
        finished_.push_back(std::move(reply));
      }
    }
  }
  changed_.notify_all();
}

void Worker::beat_loop() {
  LeaseApi api = connect(request_timeout_s, [this] { return stage_ == Stage::over; });
  auto last = Clock::now();
  bool answered = true;
  std::unique_lock lock(mutex_);
  while (stage_ != Stage::over) {
    if (held_.alive().empty()) {
      changed_.wait(lock);
      last = Clock::now();
      continue;
    }
    const double usual = ttl_s_ / 3;
    const bool sooner = !answered || held_.has_progress();
    const auto due = last + seconds(sooner ? std::min(usual, least_beat_s) : usual);
    if (Clock::now() < due) {
      changed_.wait_until(lock, due);
      continue;
    }
    lock.unlock();
    answered = beat(api);
    lock.lock();
    last = Clock::now();
  }
}

bool Worker::beat(LeaseApi& api) {
  const auto answer = api.heartbeat(held_.alive(), held_.take_progress());
  if (stage_ == Stage::over) return true;
  note_answer(answer ? nullptr : &answer.error());
  if (!answer) return false;
  for (const std::string& lease : answer->cancel) {
    if (const auto ticket = held_.ticket_of(lease)) evaluator_->cancel(*ticket);
  }
  held_.lapse(answer->gone);
  const std::lock_guard lock(mutex_);
  ttl_s_ = answer->ttl_s;
  return true;
}

void Worker::report_loop() {
  LeaseApi api = connect(request_timeout_s, [this] { return stage_ == Stage::over; });
  Backoff backoff(first_pause_s, options_.longest_pause_s);
  std::size_t most = most_results;
  std::unique_lock lock(mutex_);
  while (stage_ != Stage::over) {
    if (spool_.pending_count() == 0) {
      changed_.wait(lock);
      continue;
    }
    lock.unlock();
    const bool answered = report(api, most);
    lock.lock();
    if (answered) {
      backoff.reset();
      changed_.notify_all();
    } else {
      changed_.wait_for(lock, seconds(backoff.next_s()), [this] { return stage_ == Stage::over; });
    }
  }
}

bool Worker::report(LeaseApi& api, std::size_t& most) {
  const auto results = spool_.pending(most, most_result_bytes);
  const auto settled = api.report(results);
  if (stage_ == Stage::over && !settled) return false;
  note_answer(settled ? nullptr : &settled.error());
  if (settled) {
    most = most_results;
    spool_.acknowledge(*settled);
    held_.drop(*settled);
    return true;
  }
  const Error& error = settled.error();
  if (error.kind == ErrorKind::unavailable || error.kind == ErrorKind::exhausted) return false;
  if (results.size() > 1) {
    most = 1;  // perhaps one of them is to blame
    return true;
  }
  if (error.kind != ErrorKind::invalid) return false;
  const std::string& lease = results.front().lease;
  if (const auto moved = spool_.set_aside(lease, error.text()); !moved) {
    say_(moved.error().message);
    return false;
  }
  say_("the daemon does not read a result; it is kept in " + spool_.folder().string() +
       "/refused.jsonl: " + error.text());
  held_.drop({lease});
  return true;
}

}  // namespace paretod
